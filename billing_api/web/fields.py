"""Fields that several schemas share: each with its text for the OpenAPI document, and an example.

All examples speak of one customer, Ada Byron, who owns one license, so that a reader can follow an id from one answer
to the next. The texts cost nothing at run time: they set no condition.
"""

from typing import Final

USER: Final = "019ab3f0-5d3a-7c11-8f0e-2f6d1b7a9c01"
LICENSE: Final = "019ab3f4-8e21-7d52-9a1b-6c0f4e2d7b02"
PLAN: Final = "019a0000-0000-7000-8000-000000000002"
SUBSCRIPTION: Final = "019ab3f4-8e25-7a93-b4c2-5d1e0f3a6c03"
INVOICE: Final = "019ab3f4-8e28-7bd4-8e5f-0a9c7b6d5e04"
PAYMENT: Final = "019ab3f4-8e2b-7ce5-93a6-1b8d0c7e4f05"
CHECKOUT: Final = "019ab3f2-11c0-7e36-a7b8-2c9e1d0f5a06"
SESSION: Final = "019ab3f0-9b4c-7f47-b8c9-3d0f2e1a6b07"
CLIENT: Final = "019ab3f8-2d5e-7a58-89da-4e1a3f2b7c08"
API_KEY: Final = "019ab3f6-3e6f-7b69-9aeb-5f2b4a3c8d09"
INSTANCE: Final = "019ab3f6-3e6b-7c7a-abfc-6a3c5b4d9e10"
STAFF: Final = "019ab100-4f70-7d8b-bc0d-7b4d6c5eaf11"
EVENT: Final = "019ab3f4-8a11-7e9c-8d1e-8c5e7d6fba12"
NOTE: Final = "019ab3f9-6c11-7d0e-8a55-1f2e3d4c5b6a"
RUN: Final = "019ab400-5a82-7fad-9e2f-9d6f8e7acb13"
JOB: Final = 48211
KEY: Final = "NP-7Q2M-XK4D-9RWT"
CLIENT_SECRET: Final = "nps_Zb0xkq3vT9mWcY7uLr2FhD5sJ8pNeA4g"  # noqa: S105  an example
KEY_ID: Final = "npk_3f9a1c07d2b84e65"
EMAIL: Final = "ada@example.com"
REQUEST: Final = "01a2043a1cd676b1916112de232bc4f6"
