#!/usr/bin/env python3
"""Runs the official SDKs against `smoothgate serve` in front of `smoothgate emulate`, unmodified but for endpoint and key.

    tests/sdk/proxy.py BINARY

Each SDK gets the certified label of a picture and nothing else, and its own exception where nothing is certified
(`on_abstain = "error"`), for what is no picture, for a wrong key, for a revoked one, over the budget and under overload. Certificates are
fetched by the ids in the replies' headers and held to `smoothgate verify`; schemathesis holds the proxy's own paths to their
OpenAPI document; calls at the emulator are those in the ledger. The
lines of the pages in docs/sdk are run as they stand.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import clients
from clients import BINARY, KEY, LABEL, NO_PICTURE, PICTURE, ROOT
from clients import ClarifaiError, PictureError, emulator, expect, raises

CONFIG = """
[defaults]
provider = "up"

[providers.up]
kind = "azure"
price = "0.0010USD"
rate = "unlimited"
credentials = {{ key = "env::UPSTREAM_KEY" }}
options = {{ endpoint = "{upstream}" }}
network = {{ proxy = "direct" }}

[serve]
listen = "127.0.0.1:0"
{serve}

[routes.all]
size = 64
{route}
"""


def run(*arguments, **options):
    ended = subprocess.run([BINARY, *arguments], capture_output=True, text=True, **options)
    expect(ended.returncode == 0, f"{arguments}: {ended.stdout}{ended.stderr}")
    return ended.stdout


@contextmanager
def proxy(upstream, route='question = "clean-top"', serve='finish = "0s"'):
    """A running proxy: its address, a token, a key pair for AWS, and its folder."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        config, port, keys = folder / "smoothgate.toml", folder / "port", folder / "keys.json"
        config.write_text(CONFIG.format(upstream=upstream, route=route, serve=serve))
        token = json.loads(run("keys", "issue", "sdk", "--keys", keys, "--json"))
        pair = json.loads(run("keys", "issue", "sdk-aws", "--aws", "--keys", keys, "--json"))
        log = folder / "log"
        command = [BINARY, "--config", config, "serve", "--keys", keys, "--ledger", folder / "ledger.db"]
        with open(log, "w") as err:
            process = subprocess.Popen(
                [*command, "--port-file", port, "--log", "json"],
                stdout=subprocess.DEVNULL,
                stderr=err,
                env={"HOME": str(folder), "UPSTREAM_KEY": KEY},
            )
        try:
            for _ in range(2400):
                if port.exists() or process.poll() is not None:
                    break
                time.sleep(0.05)
            expect(port.exists(), f"the proxy did not start: {log.read_text()}")
            yield f"http://127.0.0.1:{port.read_text()}", token, pair, folder
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=60)
        expect(code == 0, f"the proxy ended with {code}: {log.read_text()[-2000:]}")
        secrets = (token["token"], pair["secret_access_key"], KEY, base64.b64encode(PICTURE[:60]).decode())
        expect(not any(secret in log.read_text() for secret in secrets), "a secret or a picture is in the log")


def ask_with(ask, token, pair):
    """The function of an SDK with the right credential: AWS signs with a pair, everybody else shows a token."""
    if ask is clients.boto3:
        return lambda url, picture: boto3(url, pair["secret_access_key"], pair["access_key_id"], picture)
    return lambda url, picture: ask(url, token["token"], picture)


def boto3(url, secret, key_id, picture):
    client = clients.boto3_client(url, secret, key_id=key_id)
    labels = client.detect_labels(Image={"Bytes": picture}, MinConfidence=0)["Labels"]
    return [label["Name"] for label in labels], [label["Confidence"] / 100 for label in labels]


def certified(reply):
    """The certified label alone, its score a probability."""
    names, scores = reply
    expect(names == [LABEL], names)
    expect(scores is None or 0.5 < scores[0] <= 1, scores)


def wrong(token):
    """A token of the right form that nobody was given."""
    return token[:-4] + ("aaaa" if not token.endswith("aaaa") else "bbbb")


def refusals():
    """What each SDK raises for abstained, a wrong key, over the budget, and overload."""
    from azure.cognitiveservices.vision.computervision.models import ComputerVisionErrorResponseException
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
    from botocore.exceptions import ClientError
    from google.api_core import exceptions as google_errors
    from googleapiclient.errors import HttpError
    from huggingface_hub.errors import HfHubHTTPError
    from openai import APIStatusError, AuthenticationError, PermissionDeniedError, RateLimitError
    from tritonclient.utils import InferenceServerException

    def aws(code):
        return ClientError, lambda error: error.response["Error"]["Code"] == code

    def status(kind, code):
        return kind, lambda error: code == int(getattr(error, "status_code", None) or error.response.status_code)

    def argument(kind, code):
        return kind, lambda error: error.args[0] == code

    def triton(code):
        return InferenceServerException, lambda error: error.status() == str(code)

    def openai_code(kind, code):
        return kind, lambda error: error.code == code

    v3 = ComputerVisionErrorResponseException
    return {
        clients.boto3: (
            aws("AbstainedException"),
            aws("InvalidSignatureException"),
            aws("AccessDeniedException"),
            aws("ThrottlingException"),
        ),
        clients.google_vision: (
            argument(PictureError, 9),
            (google_errors.BadRequest, lambda error: error.reason == "API_KEY_INVALID"),
            argument(PictureError, 7),
            (google_errors.TooManyRequests, lambda error: True),
        ),
        clients.google_discovery: (
            argument(PictureError, 9),
            status(HttpError, 400),
            argument(PictureError, 7),
            status(HttpError, 429),
        ),
        clients.azure: (
            status(HttpResponseError, 400),
            status(ClientAuthenticationError, 401),
            status(HttpResponseError, 403),
            status(HttpResponseError, 429),
        ),
        clients.azure_v3: (status(v3, 400), status(v3, 401), status(v3, 403), status(v3, 429)),
        clients.clarifai: (
            (ClarifaiError, lambda error: error.args[0] not in (10000, 11005, 11006, 11008)),
            argument(ClarifaiError, 11008),
            argument(ClarifaiError, 11006),
            argument(ClarifaiError, 11005),
        ),
        clients.openai: (
            openai_code(APIStatusError, "abstained"),
            openai_code(AuthenticationError, "invalid_api_key"),
            ((PermissionDeniedError, RateLimitError), lambda error: error.code == "insufficient_quota"),
            openai_code(RateLimitError, "rate_limit_exceeded"),
        ),
        clients.huggingface: (
            status(HfHubHTTPError, 422),
            status(HfHubHTTPError, 401),
            status(HfHubHTTPError, 402),
            status(HfHubHTTPError, 429),
        ),
        clients.triton: (triton(422), triton(401), triton(403), triton(429)),
    }


def unknown_pair_of_aws():
    """What boto3 raises for a pair that nobody has, which is not what it raises for a wrong secret."""
    from botocore.exceptions import ClientError

    return ClientError, lambda error: error.response["Error"]["Code"] == "UnrecognizedClientException"


def run_page(page, url, token, pair, folder):
    """Runs the first lines of Python of a page, with nothing changed but the address."""
    text = page.read_text()
    lines = text.split("```python\n", 1)[1].split("```", 1)[0]
    address = "127.0.0.1:8080"
    expect(lines.count(address) == 1, f"{address} is there {lines.count(address)} times")
    (folder / "picture.png").write_bytes(PICTURE)
    environment = {
        "SMOOTHGATE_KEY": token["token"],
        "AWS_ACCESS_KEY_ID": pair["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": pair["secret_access_key"],
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
    }
    program = lines.replace(address, url.removeprefix("http://"))
    ended = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)
    expect(ended.returncode == 0, ended.stderr[-600:])
    printed = [line.split()[0] for line in ended.stdout.splitlines()]
    expect(printed == [LABEL], ended.stdout)


def described(url, token, folder):
    """Our own paths are as their OpenAPI document says, whatever is asked of them."""
    command = [Path(sys.executable).with_name("st"), "run", f"{url}/openapi.json", "--checks", "all", "--seed", "1"]
    command += ["--max-examples", "100", "--phases", "examples,coverage,fuzzing", "--no-color"]
    command += ["--header", f"Authorization: Bearer {token['token']}"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    expect(ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:])


def annotate(url, token, picture):
    """A request in Google's format without an SDK, for its headers."""
    body = {
        "requests": [
            {"image": {"content": base64.b64encode(picture).decode()}, "features": [{"type": "LABEL_DETECTION"}]}
        ]
    }
    headers = {"x-goog-api-key": token, "content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/images:annotate", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as reply:
        return reply.headers


def main():
    failed = 0

    def check(name, work):
        nonlocal failed
        try:
            work()
            print(f"ok      {name}", flush=True)
        except Exception as error:  # an SDK may fail in any way
            failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {str(error)[:600]}", flush=True)

    def raising(name, expected, work):
        def wanted():
            with raises(*expected):
                work()

        check(name, wanted)

    bad_pictures = {ask: expected[2] for ask, expected in clients.sdks().items()}
    every, unknown_pair = refusals(), unknown_pair_of_aws()
    with emulator() as (upstream, stats):
        with proxy(upstream) as (url, token, pair, folder):
            for ask, (_, bad_key, _, _) in every.items():
                name, right = ask.__name__, ask_with(ask, token, pair)
                check(f"{name}: certified label", lambda: certified(right(url, PICTURE)))
                raising(f"{name}: no picture", bad_pictures[ask], lambda: right(url, NO_PICTURE))
                bad = {"token": wrong(token["token"])}, {**pair, "secret_access_key": wrong(pair["secret_access_key"])}
                raising(f"{name}: wrong key", bad_key, lambda: ask_with(ask, *bad)(url, PICTURE))

            def certificate():
                headers = annotate(url, token["token"], PICTURE)
                expect(headers["x-smoothgate-outcome"] == "certified", headers)
                own = f"{url}/certificates/{headers['x-smoothgate-certificate']}"
                request = urllib.request.Request(own, headers={"authorization": f"Bearer {token['token']}"})
                with urllib.request.urlopen(request, timeout=60) as reply:
                    (folder / "certificate.json").write_bytes(reply.read())
                run("verify", folder / "certificate.json")

            check("the certificate of a reply holds", certificate)
            check("schemathesis finds nothing", lambda: described(url, token, folder))
            for page in sorted((ROOT / "docs" / "sdk").glob("*.md")):
                check(f"{page.relative_to(ROOT)}: the lines work as they stand", lambda: run_page(page, url, token, pair, folder))
            # One certificate for the token's caller and one for the pair's: everything else was served again.
            calls = stats()["calls"]
            ledger = folder / "ledger.db"
            on_record = sum(row["spend"]["calls"] for row in json.loads(run("runs", "--ledger", ledger, "--json")))
            check("calls are those in the ledger", lambda: expect(calls == on_record > 0, (calls, on_record)))
            for key in (token, pair):
                run("keys", "revoke", key["id"], "--keys", folder / "keys.json")
            # A running server looks at the file once a second at most.
            time.sleep(1.1)
            for ask, (_, unknown_key, _, _) in every.items():
                expected = unknown_pair if ask is clients.boto3 else unknown_key
                right = ask_with(ask, token, pair)
                raising(f"{ask.__name__}: a revoked key", expected, lambda: right(url, PICTURE))
            check("for revoked keys nothing is asked", lambda: expect(stats()["calls"] == calls, calls))
        abstains = 'question = "present:goldfish"\nn_max = 60\non_abstain = "error"'
        with proxy(upstream, abstains) as (url, token, pair, _):
            for ask, (abstained, _, _, _) in every.items():
                right = ask_with(ask, token, pair)
                raising(f"{ask.__name__}: nothing certified", abstained, lambda: right(url, PICTURE))
        calls = stats()["calls"]
        with proxy(upstream, "budget = { calls = 5 }") as (url, token, pair, _):
            for ask, (_, _, over_budget, _) in every.items():
                right = ask_with(ask, token, pair)
                raising(f"{ask.__name__}: over the budget", over_budget, lambda: right(url, PICTURE))
        check("over the budget nothing is asked", lambda: expect(stats()["calls"] == calls, calls))
    with emulator("--latency", "2s") as (upstream, stats):
        one = 'finish = "0s"\nmax_active = 1\nmax_waiting = 0'
        with proxy(upstream, "concurrency = 1", one) as (url, token, pair, _):
            busy = threading.Thread(target=quietly, args=(annotate, url, token["token"], PICTURE))
            busy.start()
            while stats()["calls"] == 0:
                time.sleep(0.01)
            for ask, (_, _, _, overload) in every.items():
                right = ask_with(ask, token, pair)
                raising(f"{ask.__name__}: overload", overload, lambda: right(url, PICTURE + b"\0"))
        busy.join()
    print(f"{failed} failed")
    return 1 if failed else 0


def quietly(work, *arguments):
    """A request that the end of the server breaks off."""
    try:
        work(*arguments)
    except urllib.error.URLError:
        pass


if __name__ == "__main__":
    sys.exit(main())
