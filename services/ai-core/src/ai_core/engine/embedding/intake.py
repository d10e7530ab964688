"""From a submitted request to inputs of token ids, or a refusal that names the parameter."""

from __future__ import annotations

import numpy as np

from ai_core.engine.backends.embedding_port import EmbedderCapabilities
from ai_core.engine.backends.port import Vocabulary
from ai_core.engine.embedding.work import Work
from ai_core.engine.messages import RefusalCode, Refused, Submit
from ai_core.engine.tokens import Tokens

LONGEST_TOKEN_BYTES = 32
"""A text of more characters than this per token of the context is refused without being tokenized."""
MOST_VECTOR_BYTES = 32 * 1024 * 1024
"""Of one answer: it travels to the API process in one frame."""
_FLOAT_BYTES = 4


class _Unusable(Exception):
    def __init__(self, code: RefusalCode, parameter: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.parameter = parameter
        self.message = message


class EmbeddingIntake:
    """Checks requests against one embedding model. It holds no state of requests.

    ``max_prompt_tokens`` bounds each input; 0: as long as the context allows.
    """

    def __init__(
        self, vocabulary: Vocabulary, capabilities: EmbedderCapabilities, max_prompt_tokens: int = 0
    ) -> None:
        self._vocabulary = vocabulary
        self._capabilities = capabilities
        self._longest = min(max_prompt_tokens or capabilities.context_length, capabilities.context_length)

    def read(self, request: Submit) -> Work | Refused:
        """The inputs in token ids."""
        try:
            return self._read(request)
        except _Unusable as problem:
            return Refused(
                id=request.id, code=problem.code, parameter=problem.parameter, message=problem.message
            )

    def _read(self, request: Submit) -> Work:
        if request.inputs is None:
            message = "this model makes embeddings and generates no text; use it with /v1/embeddings"
            raise _Unusable("model_not_capable", "model", message)
        dimensions = self._dimensions(request.dimensions)
        if len(request.inputs) * dimensions * _FLOAT_BYTES > MOST_VECTOR_BYTES:
            message = f"{len(request.inputs)} vectors of {dimensions} numbers are too many for one answer"
            raise _Unusable("invalid_parameter", "input", f"{message}; send fewer inputs at once")
        if len(request.inputs) == 1:
            return Work([self._tokens(request.inputs[0], "input")], dimensions)
        inputs = [self._tokens(one, f"input[{number}]") for number, one in enumerate(request.inputs)]
        return Work(inputs, dimensions)

    def _dimensions(self, wanted: int | None) -> int:
        own = self._capabilities.dimensions
        if wanted is None or wanted == own:
            return own
        if wanted < own and self._capabilities.matryoshka:
            return wanted
        shorter = "or less" if self._capabilities.matryoshka else "and cannot be shortened"
        message = f"the vectors of this model have {own} dimensions {shorter}"
        raise _Unusable("invalid_parameter", "dimensions", message)

    def _tokens(self, given: str | list[int], parameter: str) -> Tokens:
        tokens = self._encode(given, parameter) if isinstance(given, str) else given
        if not tokens:
            raise _Unusable("invalid_prompt", parameter, "there is nothing to embed; send at least one token")
        if len(tokens) > self._longest:
            raise self._too_long(f"{len(tokens)} tokens", parameter)
        if not isinstance(given, str):
            self._check_vocabulary(given, parameter)
        return np.asarray(tokens, dtype=np.int32)

    def _encode(self, text: str, parameter: str) -> list[int]:
        if len(text) > self._longest * LONGEST_TOKEN_BYTES:
            raise self._too_long(f"{len(text)} characters", parameter)
        return self._vocabulary.encode(text, add_bos=True, parse_special=False)

    def _check_vocabulary(self, tokens: list[int], parameter: str) -> None:
        size = self._capabilities.vocabulary
        unknown = next((token for token in tokens if not 0 <= token < size), None)
        if unknown is not None:
            message = f"token {unknown} is not in this model's vocabulary of {size} tokens"
            raise _Unusable("invalid_parameter", parameter, message)

    def _too_long(self, length: str, parameter: str) -> _Unusable:
        message = f"{length} are too many: an input may have {self._longest} tokens here; shorten it"
        return _Unusable("context_length_exceeded", parameter, message)
