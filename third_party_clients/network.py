"""The running network for tests in Python: where it is, an account of its own for each file. Starts and stops nothing."""

import json
import os
import pathlib

import requests

DEV = json.loads(pathlib.Path(os.environ["PINSTRIPE_DEV_JSON"]).read_text())
GATEWAY = DEV["gateway"]


def new_key(name):
    """A new account's API key: no test sees the pins of another."""
    admin = {"Authorization": f"Bearer {DEV['admin_token']}"}
    account = requests.post(f"{GATEWAY}/v1/admin/accounts", json={"name": name}, headers=admin)
    account.raise_for_status()
    keys = f"{GATEWAY}/v1/admin/accounts/{account.json()['id']}/keys"
    key = requests.post(keys, json={"name": name}, headers=admin)
    key.raise_for_status()
    return key.json()["key"]


def upload(key, query="", **body):
    """`POST /v1/files`; `body` is what requests takes: `data` or `files`."""
    answer = requests.post(f"{GATEWAY}/v1/files{query}", headers={"Authorization": f"Bearer {key}"}, **body)
    if answer.status_code != 201:
        raise AssertionError(f"upload: {answer.status_code} {answer.text}")
    return answer.json()
