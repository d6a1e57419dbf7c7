"""Addresses and tax ids by country: what each country asks of them.

A file of its own, because what is valid is decided elsewhere: countries by ISO 3166-1, VAT numbers by the member states
(as the European Commission lists them for VIES), the others by their tax offices. Only the form is checked. Whether a
number is registered is found out by Stripe.
"""

import re
from collections.abc import Mapping
from typing import Final

_CODES: Final = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT "
    "BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH "
    "ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT "
    "HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS "
    "LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI "
    "NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG "
    "SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG "
    "UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW "
)
COUNTRIES: Final = frozenset(_CODES.split())
"""ISO 3166-1 alpha-2."""

_POSTAL_CODES: Final[Mapping[str, str]] = {
    "AT": r"[0-9]{4}",
    "AU": r"[0-9]{4}",
    "BE": r"[0-9]{4}",
    "CA": r"[A-Z][0-9][A-Z] ?[0-9][A-Z][0-9]",
    "CH": r"[0-9]{4}",
    "DE": r"[0-9]{5}",
    "DK": r"[0-9]{4}",
    "ES": r"[0-9]{5}",
    "FI": r"[0-9]{5}",
    "FR": r"[0-9]{5}",
    "GB": r"[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}",
    "IN": r"[0-9]{6}",
    "IT": r"[0-9]{5}",
    "JP": r"[0-9]{3}-?[0-9]{4}",
    "NL": r"[0-9]{4} ?[A-Z]{2}",
    "NO": r"[0-9]{4}",
    "PL": r"[0-9]{2}-[0-9]{3}",
    "PT": r"[0-9]{4}-[0-9]{3}",
    "SE": r"[0-9]{3} ?[0-9]{2}",
    "US": r"[0-9]{5}(-[0-9]{4})?",
}
_WITH_STATES: Final = frozenset({"AU", "BR", "CA", "IN", "US"})
"""Where tax or post depends on the state or province."""

_VAT: Final[Mapping[str, str]] = {
    "AT": r"ATU[0-9]{8}",
    "BE": r"BE[01][0-9]{9}",
    "BG": r"BG[0-9]{9,10}",
    "CY": r"CY[0-9]{8}[A-Z]",
    "CZ": r"CZ[0-9]{8,10}",
    "DE": r"DE[0-9]{9}",
    "DK": r"DK[0-9]{8}",
    "EE": r"EE[0-9]{9}",
    "ES": r"ES[A-Z0-9][0-9]{7}[A-Z0-9]",
    "FI": r"FI[0-9]{8}",
    "FR": r"FR[A-HJ-NP-Z0-9]{2}[0-9]{9}",
    "GR": r"EL[0-9]{9}",
    "HR": r"HR[0-9]{11}",
    "HU": r"HU[0-9]{8}",
    "IE": r"IE([0-9][A-Z0-9+*][0-9]{5}[A-Z]|[0-9]{7}[A-W][A-I])",
    "IT": r"IT[0-9]{11}",
    "LT": r"LT([0-9]{9}|[0-9]{12})",
    "LU": r"LU[0-9]{8}",
    "LV": r"LV[0-9]{11}",
    "MT": r"MT[0-9]{8}",
    "NL": r"NL[0-9]{9}B[0-9]{2}",
    "PL": r"PL[0-9]{10}",
    "PT": r"PT[0-9]{9}",
    "RO": r"RO[0-9]{2,10}",
    "SE": r"SE[0-9]{12}",
    "SI": r"SI[0-9]{8}",
    "SK": r"SK[0-9]{10}",
}
_TAX_IDS: Final[Mapping[str, Mapping[str, str]]] = {
    "au_abn": {"AU": r"[0-9]{11}"},
    "ca_bn": {"CA": r"[0-9]{9}"},
    "ch_vat": dict.fromkeys(("CH", "LI"), r"CHE[0-9]{9}(MWST|TVA|IVA)"),
    "eu_vat": _VAT,
    "gb_vat": dict.fromkeys(("GB", "IM"), r"GB([0-9]{9}|[0-9]{12}|GD[0-4][0-9]{2}|HA[5-9][0-9]{2})"),
    "in_gst": {"IN": r"[0-9]{2}[A-Z]{5}[0-9]{4}[A-Z][1-9A-Z]Z[0-9A-Z]"},
    "jp_cn": {"JP": r"[0-9]{13}"},
    "no_vat": {"NO": r"[0-9]{9}MVA"},
    "nz_gst": {"NZ": r"[0-9]{8,9}"},
    "us_ein": {"US": r"[0-9]{2}-[0-9]{7}"},
}
TAX_ID_TYPES: Final = tuple(sorted(_TAX_IDS))
_SEPARATORS: Final = re.compile(r"[\s./]")


def country_fault(code: str) -> str | None:
    """What is wrong with a country's code; None where there is such a country."""
    return None if code in COUNTRIES else "must be a country of ISO 3166-1, in two letters, such as DE"


def postal_code_fault(country: str, code: str | None) -> str | None:
    """What is wrong with a postal code; None where nothing is, or where the country's form is not known here."""
    form = _POSTAL_CODES.get(country)
    if form is None or (code is not None and re.fullmatch(form, code.upper())):
        return None
    return f"must be a postal code of {country}"


def state_fault(country: str, state: str | None) -> str | None:
    return f"is needed for addresses in {country}" if country in _WITH_STATES and not state else None


def canonical_tax_id(kind: str, value: str) -> str:
    """Without spaces, dots and slashes, in upper case; a hyphen stays in the one that is written with it."""
    packed = _SEPARATORS.sub("", value).upper()
    return packed if kind == "us_ein" else packed.replace("-", "")


def tax_id_fault(country: str, kind: str, value: str) -> str | None:
    """What is wrong with a tax id, of a customer in this country. `value`: as `canonical_tax_id` writes it."""
    forms = _TAX_IDS[kind]
    if kind == "eu_vat":  # a company may be registered in another member state than the one it is in
        if any(re.fullmatch(form, value) for form in forms.values()):
            return None
        return "must be a VAT number of a member state, with its country's letters, such as DE123456789"
    if country not in forms:
        return f"is for customers in {' or '.join(forms)}"
    return None if re.fullmatch(forms[country], value) else f"must be a {kind} of {country}"
