"""One question to one OpenAI-compatible server, by the official client."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import openai

from annotator.endpoint import Endpoint
from annotator.errors import ServiceError
from annotator.predictors.chat.logprobs import TokenChoices
from annotator.predictors.llava.prompt import QUESTION

ANSWER_PATTERN = r"\[(male|female); ([0-9]|[1-9][0-9]|1[0-2][0-9]|130)\]"
"""The asked format as a regular expression, for servers with structured outputs."""
SEED = 1234
MAX_ANSWER_TOKENS = 64
_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said: text, or a refusal and in which of its shapes it came."""

    text: str
    refusal: str | None = None
    tokens: tuple[TokenChoices, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""

    def as_json(self) -> dict[str, Any]:
        """For the ledger."""
        return {
            "text": self.text,
            "refusal": self.refusal,
            "tokens": [[token.text, dict(token.alternatives)] for token in self.tokens],
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "model": self.model,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Reply:
        """The inverse of :meth:`as_json`."""
        tokens = tuple(TokenChoices(text, alternatives) for text, alternatives in stored["tokens"])
        return cls(**{**stored, "tokens": tokens})


class Unanswered(ServiceError):
    """The server gave no usable answer.

    ``maybe_paid`` tells whether the request may have been processed, ``rejected`` whether the server understood but
    declined its form (status 400 or 422).
    """

    def __init__(self, message: str, maybe_paid: bool, rejected: bool = False) -> None:
        super().__init__(message)
        self.maybe_paid, self.rejected = maybe_paid, rejected


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server understands beyond the plain question."""

    logprobs: bool = True
    extra_body: Mapping[str, Any] = field(default_factory=dict)


class ChatClient:
    """Asks the paper's question at temperature 0, seed 1234, n 1.

    ``transport`` replaces the HTTP client of the ``openai`` package, for proxies and tests.
    """

    def __init__(self, endpoint: Endpoint, capabilities: Capabilities, transport: Any = None) -> None:
        self._endpoint, self._capabilities = endpoint, capabilities
        self._client = openai.OpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.api_key(),
            timeout=endpoint.timeout_s,
            max_retries=endpoint.retries,
            http_client=transport,
        )

    def ask(self, image: bytes, media_type: str) -> Reply:
        """The server's answer for one crop.

        Raises:
            Unanswered: no answer after all retries; says why and whether it may have been paid.
        """
        try:
            response = self._client.chat.completions.create(**self._request(image, media_type))
        except openai.APITimeoutError as error:
            raise Unanswered(f"no answer within {self._endpoint.timeout_s:g} s", maybe_paid=True) from error
        except openai.APIConnectionError as error:
            raise Unanswered(f"cannot reach {self._endpoint.base_url}", maybe_paid=False) from error
        except openai.APIStatusError as error:
            if _is_content_filter(error):
                return Reply("", refusal="content_filter")
            message = f"the server answered {error.status_code}: {_short(error)}"
            raise Unanswered(message, maybe_paid=False, rejected=error.status_code in {400, 422}) from error
        except (openai.OpenAIError, ValueError) as error:
            raise Unanswered(f"the server's answer cannot be read: {_short(error)}", maybe_paid=True) from error
        return _reply(response)

    def _request(self, image: bytes, media_type: str) -> dict[str, Any]:
        url = f"data:{media_type};base64,{base64.b64encode(image).decode('ascii')}"
        picture: dict[str, Any] = {"url": url}
        if self._endpoint.kind == "openai":
            picture["detail"] = self._endpoint.detail
        request: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": picture}, {"type": "text", "text": QUESTION}],
                }
            ],
            "temperature": 0,
            "seed": SEED,
            "n": 1,
            "max_tokens" if self._endpoint.kind == "self-hosted" else "max_completion_tokens": MAX_ANSWER_TOKENS,
        }
        if self._capabilities.logprobs:
            request |= {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}
        if self._capabilities.extra_body:
            request["extra_body"] = dict(self._capabilities.extra_body)
        return request


def _reply(response: Any) -> Reply:
    """Check every level: a server that is not OpenAI's may leave anything out."""
    choices = getattr(response, "choices", None)
    if not choices:
        raise Unanswered("the server's answer has no choices", maybe_paid=True)
    choice = choices[0]
    message = choice.message
    usage = getattr(response, "usage", None)
    refused = getattr(message, "refusal", None)
    filtered = choice.finish_reason == "content_filter"
    refusal = "message.refusal" if refused else "content_filter" if filtered else None
    return Reply(
        text=str(refused or message.content or ""),
        refusal=refusal,
        tokens=() if refusal else _tokens(choice),
        input_tokens=int(getattr(usage, "prompt_tokens", 0) or 0),
        output_tokens=int(getattr(usage, "completion_tokens", 0) or 0),
        model=str(getattr(response, "model", "") or ""),
    )


def _tokens(choice: Any) -> tuple[TokenChoices, ...]:
    content = getattr(getattr(choice, "logprobs", None), "content", None) or ()
    return tuple(
        TokenChoices(token.token, {other.token: other.logprob for other in token.top_logprobs or ()})
        for token in content
    )


def _is_content_filter(error: openai.APIStatusError) -> bool:
    return error.status_code == 400 and error.code in {"content_filter", "content_policy_violation"}


def _short(error: Exception) -> str:
    body = getattr(error, "body", None)
    text = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(text or (json.dumps(body) if body else error)).split())[:200]
