#!/usr/bin/env python3
"""Holds what smoothgate says on the wire against the models of the official SDKs.

    cargo run -p smoothgate-providers --example wire_samples -- FOLDER
    pip install -r tests/sdk/requirements.txt
    tests/sdk/validate_models.py FOLDER

Nothing is sent anywhere. A check is a function per sample; a sample without a check is an error.
"""

import base64
import json
import sys
from pathlib import Path

FOLDER = Path(sys.argv[1])
HERE = Path(__file__).parent


class Sample:
    """One message: a request of an adapter or a reply of a served format."""

    def __init__(self, path):
        message = json.loads(path.read_text())
        self.name = path.stem
        self.api = message["api"]
        self.headers = message["headers"]
        self.body = base64.b64decode(message["body"])
        self.status = message.get("status")
        self.url = message.get("url")
        self.refusal = message.get("class")

    def json(self):
        return json.loads(self.body)


def expect(condition, words):
    if not condition:
        raise AssertionError(words)


# ------------------------------------------------------------------------------------------------ Google


def discovery_schema():
    """The discovery document's schemas as one JSON Schema that allows no unknown member."""
    import googleapiclient.discovery_cache as cache

    document = json.loads((Path(cache.__file__).parent / "documents" / "vision.v1.json").read_text())

    def convert(node):
        out = {}
        if "$ref" in node:
            return {"$ref": "#/$defs/" + node["$ref"]}
        kind = node.get("type")
        if kind and kind != "any":
            out["type"] = kind
        if "enum" in node:
            out["enum"] = node["enum"]
        if kind == "object":
            if "properties" in node:
                out["properties"] = {k: convert(v) for k, v in node["properties"].items()}
                out["additionalProperties"] = False
            elif "additionalProperties" in node:
                out["additionalProperties"] = convert(node["additionalProperties"])
        if kind == "array":
            out["items"] = convert(node["items"])
        return out

    return {name: convert(node) for name, node in document["schemas"].items()}


def against(defs, name, value):
    from jsonschema import Draft202012Validator, FormatChecker

    schema = {"$ref": f"#/$defs/{name}", "$defs": defs}
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(value)


def google(sample):
    from google.cloud import vision_v1
    from google.protobuf import json_format

    if sample.refusal:
        from google.api_core import exceptions as errors
        import requests

        response = requests.Response()
        response.status_code, response._content, response.headers = sample.status, sample.body, sample.headers
        response.request = requests.Request("POST", "http://localhost").prepare()
        raised = errors.from_http_response(response)
        wanted = {
            "Throttled": errors.TooManyRequests,
            "Unauthenticated": errors.Unauthorized,
            "UnknownKey": errors.BadRequest,
            "Forbidden": errors.Forbidden,
            "BadPicture": errors.BadRequest,
            "Internal": errors.InternalServerError,
        }.get(sample.refusal, errors.GoogleAPICallError)
        expect(isinstance(raised, wanted), f"{type(raised)}")
        expect("the reason in words" in str(raised), str(raised))
        if sample.refusal == "UnknownKey":
            expect(raised.reason == "API_KEY_INVALID", str(raised.reason))
        return
    request = sample.url is not None
    kind = vision_v1.BatchAnnotateImagesRequest if request else vision_v1.BatchAnnotateImagesResponse
    # Unknown members are errors here.
    parsed = kind(json_format.Parse(sample.body, kind.pb(kind())))
    if "integers" not in sample.name:
        against(discovery_schema(), kind.__name__, sample.json())
    if request:
        expect([f.type_.name for f in parsed.requests[0].features] == ["LABEL_DETECTION", "SAFE_SEARCH_DETECTION"], parsed)
        expect(parsed.requests[0].image.content.startswith(b"\x89PNG"), "the picture")
    elif sample.name.endswith("found"):
        first = parsed.responses[0]
        expect(first.label_annotations[0].description == "dog", first)
        expect(first.safe_search_annotation.racy.name == "LIKELY", first)
        expect(abs(first.label_annotations[0].score - 0.985) < 1e-6, first)
    elif sample.name.endswith("mixed"):
        expect(parsed.responses[0].error.code == 3 and parsed.responses[1].label_annotations, parsed)


# --------------------------------------------------------------------------------------------------- AWS


def aws(sample):
    import botocore.session
    from botocore.parsers import create_parser
    from botocore.validate import ParamValidator

    service = botocore.session.get_session().get_service_model("rekognition")
    moderation = "moderation" in sample.name or "Moderation" in sample.headers.get("x-amz-target", "")
    operation = service.operation_model("DetectModerationLabels" if moderation else "DetectLabels")
    if sample.url:
        expect(sample.headers["content-type"] == "application/x-amz-json-1.1", sample.headers)
        expect(sample.headers["x-amz-target"] == "RekognitionService." + operation.name, sample.headers)
        body = sample.json()
        body["Image"]["Bytes"] = base64.b64decode(body["Image"]["Bytes"], validate=True)
        report = ParamValidator().validate(body, operation.input_shape)
        expect(not report.has_errors(), report.generate_report())
        expect(set(body) <= set(operation.input_shape.members), set(body))
        return
    raw = {"status_code": sample.status, "headers": sample.headers, "body": sample.body}
    parsed = create_parser("json").parse(raw, operation.output_shape)
    expect(parsed["ResponseMetadata"]["RequestId"] == "0dbec5ad-5f1a-4c1e-9c43-1b2a3c4d5e6f", parsed)
    if sample.status >= 300:
        expect(parsed["Error"]["Message"], parsed)
        code = parsed["Error"]["Code"]
        modelled = {shape.name for shape in service.error_shapes}
        generic = {
            "AbstainedException",
            "InvalidSignatureException",
            "SerializationException",
            "UnknownOperationException",
            "UnrecognizedClientException",
            "ValidationException",
        }
        expect(code in modelled | generic, code)
        if sample.refusal == "Throttled":
            expect(code == "ThrottlingException" and sample.status == 400, code)
        return
    body = sample.json()
    report = ParamValidator().validate(body, operation.output_shape)
    expect(not report.has_errors(), report.generate_report())
    expect(set(body) <= set(operation.output_shape.members), set(body))
    for label in parsed.get("Labels", parsed.get("ModerationLabels")):
        shape = operation.output_shape.members["ModerationLabels" if moderation else "Labels"].member
        expect(set(label) <= set(shape.members), label)
        # botocore checks neither end of the scale.
        expect(0 <= label["Confidence"] <= 100, label)
    if sample.name.endswith("found") and not moderation:
        expect(parsed["Labels"][0] == parsed["Labels"][0] | {"Name": "dog", "Confidence": 98.5}, parsed)


# ------------------------------------------------------------------------------------------------- Azure


def azure(sample):
    defs = json.loads((HERE / "azure.schema.json").read_text())["$defs"]
    v4 = sample.api == "azure"
    if sample.url:
        expect(sample.headers["content-type"] == "application/octet-stream", sample.headers)
        expect(sample.body.startswith(b"\x89PNG"), "raw bytes")
        return
    if sample.status >= 300:
        against(defs, "error", sample.json())
        expect(sample.headers["x-ms-error-code"] == sample.json()["error"]["code"], sample.headers)
        return
    against(defs, "v4" if v4 else "v3", sample.json())
    if v4:
        from azure.ai.vision.imageanalysis.models import ImageAnalysisResult

        result = ImageAnalysisResult(sample.json())
        tags, version, width = result.tags.list, result.model_version, result.metadata.width
    else:
        from azure.cognitiveservices.vision.computervision import models
        from msrest import Deserializer

        classes = {k: v for k, v in vars(models).items() if isinstance(v, type)}
        result = Deserializer(classes)("ImageAnalysis", sample.json())
        tags, version, width = result.tags, result.model_version, result.metadata.width
        expect(result.adult is not None, "adult was asked for")
        expect(result.adult.is_racy_content == sample.name.endswith("found"), result.adult)
    expect(version == "2023-10-01" and width == 80, result)
    if sample.name.endswith("found"):
        expect((tags[0].name, tags[0].confidence) == ("dog", 0.985), tags)


# ---------------------------------------------------------------------------------------------- Clarifai


def clarifai(sample):
    from clarifai_grpc.grpc.api import service_pb2
    from clarifai_grpc.grpc.api.status import status_code_pb2
    from google.protobuf.json_format import ParseDict

    if sample.url:
        message = ParseDict(sample.json(), service_pb2.PostModelOutputsRequest())
        expect(message.inputs[1].data.image.base64.startswith(b"\x89PNG"), message)
        return
    kind = service_pb2.SingleModelResponse if "model" in sample.name else service_pb2.MultiOutputResponse
    message = ParseDict(sample.json(), kind())
    known = set(status_code_pb2.StatusCode.values())
    expect(message.status.code in known, message.status)
    if sample.refusal:
        expect(message.status.details == "the reason in words", message.status)
    elif sample.name.endswith("mixed"):
        expect(message.status.code == status_code_pb2.MIXED_STATUS, message.status)
        expect([o.status.code for o in message.outputs] == [30101, status_code_pb2.SUCCESS], message)
    else:
        expect(message.status.code == status_code_pb2.SUCCESS, message.status)
        if sample.name == "clarifai.reply.found":
            concept = message.outputs[1].data.concepts[0]
            expect((concept.name, concept.id) == ("dog", "281") and abs(concept.value - 0.985) < 1e-6, concept)
            expect(message.outputs[1].model.model_version.id == "2023-10-01", message.outputs[1].model)


# ------------------------------------------------------------------------------------------------ OpenAI


def openai(sample):
    from openai.types.chat import ChatCompletion, completion_create_params
    from pydantic import TypeAdapter

    body = sample.json()
    if sample.url:
        params = completion_create_params.CompletionCreateParamsNonStreaming
        known = set(params.__required_keys__ | params.__optional_keys__)
        expect(set(body) - known <= {"guided_choice"}, set(body) - known)
        TypeAdapter(params).validate_python({k: v for k, v in body.items() if k in known})
        return
    if sample.status >= 300:
        expect(set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}, body)
        return
    message = ChatCompletion.model_validate(body, strict=True).choices[0].message
    if sample.name.endswith("found"):
        text = "dog" if "guided" in sample.name else '{"label":"dog"}'
        expect(message.content == text and message.refusal is None, message)
    else:
        expect(message.content is None and message.refusal, message)


# ------------------------------------------------------------------------------------------- Hugging Face


def huggingface(sample):
    from huggingface_hub import ImageClassificationOutputElement

    if sample.url:
        if "raw" in sample.name:
            expect(sample.body.startswith(b"\x89PNG"), "raw bytes")
        else:
            expect(set(sample.json()) == {"inputs", "parameters"}, sample.json())
        return
    if sample.status >= 300:
        expect(isinstance(sample.json()["error"], str), sample.json())
        return
    found = ImageClassificationOutputElement.parse_obj_as_list(sample.body)
    if sample.name.endswith("found"):
        expect((found[0].label, found[0].score) == ("dog", 0.985), found)
        expect(len(found) == 3, found)


# ------------------------------------------------------------------------------------------------ KServe


def kserve(sample):
    from tritonclient.http import InferResult
    from tritonclient.utils import deserialize_bytes_tensor

    if sample.url:
        if "binary" in sample.name:
            length = int(sample.headers["inference-header-content-length"])
            head, raw = json.loads(sample.body[:length]), sample.body[length:]
            expect(head["inputs"][0]["parameters"]["binary_data_size"] == len(raw), head)
            pictures = deserialize_bytes_tensor(raw)
            expect(len(pictures) == 2 and all(p.startswith(b"\x89PNG") for p in pictures), pictures)
        else:
            head = sample.json()
            expect(len(head["inputs"][0]["data"]) == 2, head)
        expect(head["inputs"][0]["shape"] == [2, 1] and head["inputs"][0]["datatype"] == "BYTES", head)
        return
    if sample.status >= 300:
        expect(set(sample.json()) == {"error"}, sample.json())
        return
    if "metadata" in sample.name:
        expect({"name", "versions", "platform", "inputs", "outputs"} == set(sample.json()), sample.json())
        return
    if "server" in sample.name:
        expect({"name", "version", "extensions"} == set(sample.json()), sample.json())
        return
    length = sample.headers.get("inference-header-content-length")
    result = InferResult.from_response_body(sample.body, header_length=length and int(length))
    classes = result.as_numpy("probs")
    if sample.name.endswith("found"):
        expect(classes.shape == (2, 3), classes)
        first = classes[0][0]
        first = first.decode() if isinstance(first, bytes) else first
        expect(first == "0.985:281:dog", first)


CHECKS = {
    "google": google,
    "aws": aws,
    "azure": azure,
    "azure-v3": azure,
    "clarifai": clarifai,
    "openai": openai,
    "huggingface": huggingface,
    "kserve": kserve,
}


def main():
    paths = sorted(FOLDER.glob("*.json"))
    failed = 0
    seen = set()
    for path in paths:
        sample = Sample(path)
        seen.add(sample.api)
        if sample.refusal == "Throttled":
            expect(int(sample.headers["retry-after"]) >= 1 and sample.status != 503, sample.name)
        try:
            CHECKS[sample.api](sample)
        except Exception as error:  # a check may fail in any way the SDK can fail
            failed += 1
            print(f"{sample.name}: {type(error).__name__}: {str(error)[:600]}")
    if seen != set(CHECKS):
        print(f"no samples of {sorted(set(CHECKS) - seen)}")
        failed += 1
    print(f"{len(paths)} samples, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
