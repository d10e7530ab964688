"""The form that ``/v1/audio/transcriptions`` takes:
https://platform.openai.com/docs/api-reference/audio/createTranscription"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, WithJsonSchema
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ai_core.api.errors import BodyTooLarge, BodyTooSlow, UnsupportedMediaType
from ai_core.api.json_body import JsonObject, explain
from ai_core.api.parameters import ModelName
from ai_core.errors import InvalidRequest
from ai_core.transcription.port import Recording, TranscriptFormat

FORM_MEDIA_TYPE = "multipart/form-data"
UPLOAD_SECONDS = 300.0
MAX_FIELDS = 32
MAX_FIELD_BYTES = 64 * 1024
FORM_OVERHEAD_BYTES = 1024 * 1024
"""Of the fields beside the file, and of what is between them."""
GRANULARITIES = "timestamp_granularities[]"
_LISTS = frozenset({GRANULARITIES, "include[]"})
_SUFFIX = re.compile(r"\.([A-Za-z0-9]{1,8})$")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,60}")


class TranscriptionFields(JsonObject):
    """The text fields. A form has no types, so numbers and truths come as text."""

    model: ModelName | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None
    prompt: Annotated[str, Field(max_length=4_096)] | None = None
    response_format: TranscriptFormat = "json"
    temperature: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=False)] | None = None
    timestamp_granularities: Annotated[
        list[Literal["word", "segment"]],
        Field(max_length=2, alias=GRANULARITIES, default_factory=list),
    ]
    stream: Literal["false", "False"] | None = None


class TranscriptionBody(TranscriptionFields):
    """The whole form, for the description of the API."""

    file: Annotated[str, WithJsonSchema({"type": "string", "format": "binary"})]


class TranscriptionForm:
    """A form that was read: its fields, and the recording."""

    def __init__(self, fields: TranscriptionFields, recording: Recording) -> None:
        self.fields = fields
        self.recording = recording


@asynccontextmanager
async def read_form(request: Request, max_audio_bytes: int) -> AsyncIterator[TranscriptionForm]:
    """The form of a request; its file is gone at the end of the block.

    Raises:
        UnsupportedMediaType, BodyTooLarge, BodyTooSlow, InvalidRequest: as the names say.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != FORM_MEDIA_TYPE:
        raise UnsupportedMediaType(f"Send a form, with the header 'Content-Type: {FORM_MEDIA_TYPE}'.")
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            form = await request.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
    except TimeoutError as error:
        raise BodyTooSlow(f"The form did not arrive within {UPLOAD_SECONDS:.0f} seconds.") from error
    except HTTPException as error:
        raise InvalidRequest(f"The form cannot be read: {error.detail}", code="invalid_form") from error
    try:
        yield TranscriptionForm(_fields(form), _recording(form, max_audio_bytes))
    finally:
        await form.close()


def _fields(form: FormData) -> TranscriptionFields:
    values: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name == "file":
            continue
        if not isinstance(value, str):
            raise InvalidRequest(f"'{name[:60]}' is not a file.", code="invalid_value", parameter=name[:60])
        if name in _LISTS:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise InvalidRequest(f"'{name[:60]}' stands twice.", code="invalid_value", parameter=name[:60])
        else:
            values[name] = value
    try:
        fields = TranscriptionFields.model_validate(values)
    except ValidationError as error:
        raise explain(error.errors(include_url=False, include_input=False)[0]) from error
    if fields.timestamp_granularities and fields.response_format != "verbose_json":
        raise InvalidRequest(
            f"'{GRANULARITIES}' goes with 'response_format': verbose_json only.", parameter=GRANULARITIES
        )
    return fields


def _recording(form: FormData, max_audio_bytes: int) -> Recording:
    files = form.getlist("file")
    if not files:
        raise InvalidRequest("'file' is missing.", code="missing_parameter", parameter="file")
    file, size = files[0], 0
    if not isinstance(file, UploadFile) or len(files) > 1:
        raise InvalidRequest("'file' should be one file.", code="invalid_value", parameter="file")
    size = file.size or 0
    if not size:
        raise InvalidRequest("'file' is empty.", code="invalid_value", parameter="file")
    if size > max_audio_bytes:
        raise BodyTooLarge(
            f"The recording is larger than {max_audio_bytes} bytes, the limit of this server.",
            parameter="file",
        )
    suffix = _SUFFIX.search(file.filename or "")
    media_type = file.content_type or ""
    return Recording(
        file=file.file,
        size=size,
        suffix=suffix.group(1).lower() if suffix else "",
        media_type=media_type if _MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream",
    )
