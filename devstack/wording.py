"""Rules of wording: American spelling, no pronoun for an unnamed person, singulars, heads, sentences, metaphors.

`devstack/proofread.py` asks them of every tracked text. Migrations that are written stay as they are and are not asked.
Patterns hold a character class here and there, so that this file does not match itself.
"""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Final

_HEAD_WORDS: Final = 25
_SENTENCE_WORDS: Final = 40
_FIELD_TERM_FIRST: Final = re.compile(
    r"(What|Who|Whose|Whether|How|Where|When|Why|As whom|Everybody|Somebody|Nobody)\b"
)

_BRITISH: Final = re.compile(
    r"licen[c]e|(?:behavi|col|fav|flav|harb|hon|hum|lab|neighb|rum)o[u]r|(?:def|off|pret)en[c]e|cen[t]re|judg[e]ment"
    r"|ar[t]efact|che[q]ue|gr[e]y$|sp[e]lt$|lea[r]nt|skil[f]ul|ful[f]il(?!l)|enr[o]l(?!l)|amon[g]st|whil[s]t|practi[s]e"
    r"|(?:label|model|signal|total|travel)[l](?:ed|ing)|anal[y]se|programm[e]s?$"
    r"|(?:apolog|anonym|author|categor|custom|emphas|final|general|initial|maxim|minim|normal|optim|organ|parametr"
    r"|priorit|random|real|recogn|sanit|serial|special|standard|summar|synchron|token|util|visual)i[s](?:ed?|es|er|ing|at)"
)
# Part of the billing API's published description: renaming the schema would break clients made from it.
_PUBLISHED_SPELLINGS: Final = frozenset({"Enro" + "lment"})
_PRONOUNS: Final = frozenset({"h" + "e", "h" + "is", "h" + "im", "h" + "imself", "sh" + "e", "who" + "ever"})
_METAPHOR: Final = re.compile(r"(?:her[a]lds?|another[ ]tr[y]|rin[g]s|r[u]ng[ ]for|ho[p]es)(?!\w)", re.IGNORECASE)
_PLURAL: Final = re.compile(
    r" (?:(?!within)\w+ )?(?:seconds|minutes|hours|days|weeks|months|years|times|tries|attempts|words|lines|characters"
    r"|digits|bytes|items|rows|records|entries|links|changes|events|jobs|mails|calls|requests|validations|questions|results"
    r"|errors|faults|differences|violations|licenses|customers|users|visitors|plans|subscriptions|panels|keys|codes"
    r"|passwords|addresses|sessions|clients|domains|databases|accounts|reports|reservations|resets|suspensions"
    r"|strikes|connections|servers|processes|workers|buckets|places)\b"
)
_SCREAMING: Final = re.compile(r"_?[A-Z][A-Z0-9_]*")
_WORD: Final = re.compile(r"\w+")

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])[)*`\"]*\s+|\n\s*\n|\n\s*(?=[-*|]\s|\d+\.\s)|\n(?=\s{2,}\S)")


def british_spellings(text: str) -> Iterator[tuple[int, str]]:
    """Each British spelling of a word that the code and the prose spell the American way: line and word."""
    return _words(_is_british, text)


def pronouns(text: str) -> Iterator[tuple[int, str]]:
    """Each pronoun that stands for an unnamed person, or for an actor that has a name."""
    return _words(_is_pronoun, text)


def metaphors(text: str) -> Iterator[tuple[int, str]]:
    """Each metaphor in place of a term: event, retry, wakes, expects."""
    for match in _METAPHOR.finditer(text):
        if not _WORD.match(text[match.start() - 1 : match.start()]):
            yield _line(text, match), match.group()


def module_heads(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """A module's docstring that is missing, does not begin with the field's term, or has a long first sentence."""
    head = ast.get_docstring(tree)
    if head is None:
        yield 1, "no docstring"
        return
    first = next(sentences(head), "")
    if _FIELD_TERM_FIRST.match(first):
        yield 1, f"begins with no term: {first}"
    if (words := len(first.split())) > _HEAD_WORDS:
        yield 1, f"words in the first sentence: {words}"


def long_sentences(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each sentence of a docstring with more words than a reader keeps in mind."""
    for node in [tree, *definitions(tree)]:
        for sentence in sentences(ast.get_docstring(node) or ""):
            if (words := len(sentence.split())) > _SENTENCE_WORDS:
                yield node.body[0].lineno, f"words: {words}: {sentence}"


def numbers_before_plurals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each f-string that writes a value, not a constant, before a plural: "1 seconds" (core/counted.py)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for value, text in pairwise(node.values):
                if not (isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant)):
                    continue
                if not _is_constant(value.value) and (found := _PLURAL.match(str(text.value))):
                    yield node.lineno, ast.unparse(value.value) + found.group()


def _is_constant(value: ast.expr) -> bool:
    """It has one value, which the author of the text knew."""
    name = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
    return bool(_SCREAMING.fullmatch(name))


def definitions(node: ast.AST) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Classes and functions at any depth. Only statements are walked: `ast.walk` takes seconds for all files."""
    for part in ("body", "orelse", "handlers", "finalbody", "cases"):
        inner = getattr(node, part, ())
        for statement in inner if isinstance(inner, list) else ():
            if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield statement
            yield from definitions(statement)


def sentences(prose: str) -> Iterator[str]:
    """The sentences of a docstring; a list's item, a table's row and an indented block are ones of their own."""
    return (" ".join(sentence.split()) for sentence in _SENTENCE_END.split(prose) if sentence.strip())


def _words(wrong: Callable[[str], bool], text: str) -> Iterator[tuple[int, str]]:
    found = [word for word in set(_WORD.findall(text)) if wrong(word)]
    if found:
        for match in re.finditer(rf"\b(?:{'|'.join(found)})\b", text):
            yield _line(text, match), match.group()


# A text repeats its words, and texts share theirs: each is judged once.
@cache
def _is_british(word: str) -> bool:
    return word not in _PUBLISHED_SPELLINGS and any(_BRITISH.search(part) for part in word.lower().split("_"))


def _is_pronoun(word: str) -> bool:
    return word.lower() in _PRONOUNS


def _line(text: str, match: re.Match[str]) -> int:
    return text.count("\n", 0, match.start()) + 1
