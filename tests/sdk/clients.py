#!/usr/bin/env python3
"""Runs the official SDKs as clients of `smoothgate emulate`, unmodified but for endpoint and key.

    tests/sdk/clients.py BINARY

Each SDK gets the right answer for a picture, and its own exception for a wrong key, for throttling and for what is no
picture. The emulator's counts tell that every call arrived.
"""

import base64
import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = sys.argv[1]
KEY = "a-key-of-this-test"
AWS_ID = "AKIDOFTHISTEST"
PICTURE = (ROOT / "examples" / "pictures" / "bananas.png").read_bytes()
NO_PICTURE = b"this is no picture at all"
LABEL = "banana"


def expect(condition, words):
    if not condition:
        raise AssertionError(words)


@contextmanager
def raises(kind, check=lambda error: True):
    try:
        yield
    except kind as error:
        expect(check(error), f"{type(error).__name__}: {error!r}")
    else:
        raise AssertionError(f"no {getattr(kind, '__name__', kind)}")


@contextmanager
def emulator(*options):
    """A running emulator: its address and a function that gives its counts."""
    with tempfile.TemporaryDirectory() as folder:
        port = Path(folder) / "port"
        command = [BINARY, "emulate", "--key", KEY, "--aws-key", f"{AWS_ID}:{KEY}", "--port-file", port, *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            for _ in range(1200):
                if port.exists() or process.poll() is not None:
                    break
                time.sleep(0.05)
            expect(port.exists(), "the emulator did not start")
            url = f"http://127.0.0.1:{port.read_text()}"

            def stats():
                with urllib.request.urlopen(f"{url}/__emulator/stats") as reply:
                    return json.load(reply)["total"]

            yield url, stats
        finally:
            process.send_signal(signal.SIGINT)
            expect(process.wait(timeout=30) == 0, "the emulator did not end well")


def labelled(names, scores=None):
    """The right label first, scores from 0 to 1 and falling."""
    expect(names and names[0] == LABEL, names)
    if scores is not None:
        expect(all(0 <= score <= 1 for score in scores), scores)
        expect(scores == sorted(scores, reverse=True), scores)


# Each SDK is a function of the address, the key and the picture. It returns names and scores, or raises.


def boto3_client(url, key, key_id=AWS_ID):
    import boto3
    from botocore.config import Config

    return boto3.client(
        "rekognition",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=key,
        config=Config(retries={"max_attempts": 0}),
    )


def boto3(url, key, picture):
    reply = boto3_client(url, key).detect_labels(Image={"Bytes": picture}, MinConfidence=0)
    expect(reply["LabelModelVersion"].startswith("things64-"), reply["LabelModelVersion"])
    labels = reply["Labels"]
    return [label["Name"] for label in labels], [label["Confidence"] / 100 for label in labels]


def google_vision_client(url, key):
    from google.api_core.client_options import ClientOptions
    from google.cloud import vision_v1

    return vision_v1.ImageAnnotatorClient(
        transport="rest", client_options=ClientOptions(api_endpoint=url, api_key=key)
    )


def google_vision(url, key, picture):
    from google.cloud import vision_v1

    entry = google_vision_client(url, key).label_detection(image=vision_v1.Image(content=picture))
    if entry.error.code:
        raise PictureError(entry.error.code)
    labels = entry.label_annotations
    return [label.description for label in labels], [label.score for label in labels]


class PictureError(Exception):
    """An error inside a 200, which Google's SDKs hand on as data."""


def google_discovery(url, key, picture):
    from googleapiclient.discovery import build

    vision = build(
        "vision", "v1", developerKey=key, static_discovery=True, client_options={"api_endpoint": url}
    )
    request = {
        "image": {"content": base64.b64encode(picture).decode()},
        "features": [{"type": "LABEL_DETECTION"}],
    }
    entry = vision.images().annotate(body={"requests": [request]}).execute()["responses"][0]
    if "error" in entry:
        raise PictureError(entry["error"]["code"])
    labels = entry["labelAnnotations"]
    return [label["description"] for label in labels], [label["score"] for label in labels]


def azure(url, key, picture):
    from azure.ai.vision.imageanalysis import ImageAnalysisClient
    from azure.ai.vision.imageanalysis.models import VisualFeatures
    from azure.core.credentials import AzureKeyCredential

    # With the slash at the end that the portal prints.
    client = ImageAnalysisClient(endpoint=url + "/", credential=AzureKeyCredential(key), retry_total=0)
    result = client.analyze(image_data=picture, visual_features=[VisualFeatures.TAGS])
    expect(result.model_version.startswith("things64-") and result.metadata.width > 0, result)
    return [tag.name for tag in result.tags.list], [tag.confidence for tag in result.tags.list]


def azure_v3(url, key, picture):
    import io

    from azure.cognitiveservices.vision.computervision import ComputerVisionClient
    from msrest.authentication import CognitiveServicesCredentials

    client = ComputerVisionClient(url, CognitiveServicesCredentials(key))
    result = client.analyze_image_in_stream(io.BytesIO(picture), visual_features=["Tags"])
    expect(result.model_version.startswith("things64-"), result)
    return [tag.name for tag in result.tags], [tag.confidence for tag in result.tags]


class ClarifaiError(Exception):
    """A status other than success, which Clarifai's channel hands on as data."""


def clarifai(url, key, picture):
    from clarifai_grpc.channel.clarifai_channel import ClarifaiChannel
    from clarifai_grpc.grpc.api import resources_pb2, service_pb2, service_pb2_grpc

    stub = service_pb2_grpc.V2Stub(ClarifaiChannel.get_json_channel(base_url=url))
    image = resources_pb2.Image(base64=picture)
    request = service_pb2.PostModelOutputsRequest(
        user_app_id=resources_pb2.UserAppIDSet(user_id="clarifai", app_id="main"),
        model_id="general-image-recognition",
        inputs=[resources_pb2.Input(data=resources_pb2.Data(image=image))],
    )
    reply = stub.PostModelOutputs(request, metadata=(("authorization", f"Key {key}"),))
    if reply.status.code != 10000:
        raise ClarifaiError(reply.status.code)
    concepts = reply.outputs[0].data.concepts
    expect(reply.outputs[0].model.model_version.id.startswith("things64-"), reply.outputs[0].model)
    return [concept.name for concept in concepts], [concept.value for concept in concepts]


def openai(url, key, picture):
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": ["goldfish", LABEL, "bee"]}},
        "required": ["label"],
        "additionalProperties": False,
    }
    image = "data:image/png;base64," + base64.b64encode(picture).decode()
    reply = client.chat.completions.create(
        model="m",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Choose one label."},
                    {"type": "image_url", "image_url": {"url": image}},
                ],
            }
        ],
        response_format={"type": "json_schema", "json_schema": {"name": "label", "strict": True, "schema": schema}},
    )
    expect(reply.choices[0].finish_reason == "stop" and reply.choices[0].message.refusal is None, reply)
    return [json.loads(reply.choices[0].message.content)["label"]], None


def huggingface(url, key, picture):
    from huggingface_hub import InferenceClient

    found = InferenceClient(model=url, token=key).image_classification(picture)
    return [entry.label for entry in found], [entry.score for entry in found]


def triton(url, key, picture):
    import numpy
    from tritonclient import http

    client = http.InferenceServerClient(url.removeprefix("http://"))
    headers = {"Authorization": f"Bearer {key}"}
    healthy = client.is_server_live(headers=headers) and client.is_model_ready("m", headers=headers)
    tensor = http.InferInput("IMAGE", [1, 1], "BYTES")
    tensor.set_data_from_numpy(numpy.array([[picture]], dtype=numpy.object_))
    output = http.InferRequestedOutput("probs", class_count=5)
    reply = client.infer("m", [tensor], outputs=[output], headers=headers)
    expect(healthy, "health")
    # `value:index:label`
    rows = [entry.decode().split(":", 2) for entry in reply.as_numpy("probs")[0]]
    return [row[2] for row in rows], [float(row[0]) for row in rows]


def sdks():
    """Each SDK: how it is called, and what it raises for a wrong key, a throttle and what is no picture."""
    from azure.cognitiveservices.vision.computervision.models import ComputerVisionErrorResponseException
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
    from botocore.exceptions import ClientError
    from google.api_core import exceptions as google_errors
    from googleapiclient.errors import HttpError
    from huggingface_hub.errors import HfHubHTTPError
    from openai import AuthenticationError, BadRequestError, RateLimitError
    from tritonclient.utils import InferenceServerException

    def aws_code(*codes):
        return lambda error: error.response["Error"]["Code"] in codes

    def status(code):
        return lambda error: int(error.response.status_code) == code

    def argument(*codes):
        return lambda error: not isinstance(error, (PictureError, ClarifaiError)) or error.args[0] in codes

    throttles = ("ThrottlingException", "ProvisionedThroughputExceededException")
    return {
        boto3: (
            (ClientError, aws_code("InvalidSignatureException")),
            (ClientError, aws_code(*throttles)),
            (ClientError, aws_code("InvalidImageFormatException")),
        ),
        google_vision: (
            (google_errors.BadRequest, lambda error: error.reason == "API_KEY_INVALID"),
            ((google_errors.TooManyRequests, PictureError), argument(8)),
            (PictureError, argument(3)),
        ),
        google_discovery: (
            (HttpError, lambda error: error.status_code == 400),
            ((HttpError, PictureError), lambda error: argument(8)(error) and getattr(error, "status_code", 429) == 429),
            (PictureError, argument(3)),
        ),
        azure: (
            (ClientAuthenticationError, lambda error: error.status_code == 401),
            (HttpResponseError, lambda error: error.status_code == 429),
            (HttpResponseError, lambda error: error.status_code == 400 and error.error.code == "InvalidRequest"),
        ),
        azure_v3: (
            (ComputerVisionErrorResponseException, status(401)),
            (ComputerVisionErrorResponseException, status(429)),
            (ComputerVisionErrorResponseException, status(400)),
        ),
        clarifai: (
            (ClarifaiError, argument(11008)),
            (ClarifaiError, argument(11005)),
            (ClarifaiError, argument(30101)),
        ),
        openai: (
            (AuthenticationError, lambda error: error.code == "invalid_api_key"),
            (RateLimitError, lambda error: error.code == "rate_limit_exceeded"),
            (BadRequestError, lambda error: True),
        ),
        huggingface: ((HfHubHTTPError, status(401)), (HfHubHTTPError, status(429)), (HfHubHTTPError, status(400))),
        triton: (
            (InferenceServerException, lambda error: error.status() == "401"),
            (InferenceServerException, lambda error: error.status() == "429"),
            (InferenceServerException, lambda error: "Bad image data" in error.message() or "formats" in error.message()),
        ),
    }


def more_of_boto3(url):
    """What AWS refuses under names of its own."""
    client = boto3_client(url, KEY)
    expect(client.detect_moderation_labels(Image={"Bytes": PICTURE})["ModerationLabels"] == [], "moderation")
    with raises(client.exceptions.ImageTooLargeException):
        client.detect_labels(Image={"Bytes": PICTURE + bytes(5_300_000)})
    with raises(client.exceptions.InvalidS3ObjectException):
        client.detect_labels(Image={"S3Object": {"Bucket": "bucket", "Name": "name"}})
    unknown = boto3_client(url, KEY, key_id="AKIDUNKNOWN")
    with raises(Exception, lambda error: "UnrecognizedClientException" in str(error)):
        unknown.detect_labels(Image={"Bytes": PICTURE})


def more_of_google(url):
    """A batch in which one picture fails alone."""
    from google.cloud import vision_v1

    feature = vision_v1.Feature(type_=vision_v1.Feature.Type.LABEL_DETECTION, max_results=3)
    requests = [
        vision_v1.AnnotateImageRequest(image=vision_v1.Image(content=content), features=[feature])
        for content in (PICTURE, NO_PICTURE, PICTURE)
    ]
    entries = google_vision_client(url, KEY).batch_annotate_images(requests=requests).responses
    expect([entry.error.code for entry in entries] == [0, 3, 0], entries)
    expect(all(len(entry.label_annotations) == 3 for entry in (entries[0], entries[2])), entries)


def main():
    failed = 0

    def check(name, work):
        nonlocal failed
        try:
            work()
            print(f"ok      {name}")
        except Exception as error:  # an SDK may fail in any way
            failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {str(error)[:600]}")

    every = sdks()
    with emulator() as (url, stats):
        for ask, (bad_key, _, bad_picture) in every.items():
            check(f"{ask.__name__}: right answer", lambda: labelled(*ask(url, KEY, PICTURE)))
            with_key(check, f"{ask.__name__}: wrong key", ask, (url, "a-wrong-key", PICTURE), bad_key)
            with_key(check, f"{ask.__name__}: no picture", ask, (url, KEY, NO_PICTURE), bad_picture)
        counts = stats()
        # One more than three each: with a wrong key Triton's question whether the model is ready is refused and counted, too.
        check(
            "the emulator counted the calls of all SDKs",
            lambda: expect(
                counts["calls"] == 3 * len(every) + 1 and counts["outcomes"]["answered"] == len(every), counts
            ),
        )
        check("boto3: other refusals", lambda: more_of_boto3(url))
        check("google_vision: one bad picture of three", lambda: more_of_google(url))
    with emulator("--fault-rate", "throttle=1") as (url, stats):
        for ask, (_, throttled, _) in every.items():
            for _ in range(4):
                with_key(check, f"{ask.__name__}: throttled", ask, (url, KEY, PICTURE), throttled)
        counts = stats()
        check(
            "the emulator counted the throttles",
            lambda: expect(counts["faults"]["throttle"]["calls"] == 4 * len(every) == counts["calls"], counts),
        )
    print(f"{failed} failed")
    return 1 if failed else 0


def with_key(check, name, ask, arguments, expected):
    def work():
        with raises(*expected):
            ask(*arguments)

    check(name, work)


if __name__ == "__main__":
    sys.exit(main())
