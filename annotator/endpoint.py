"""An OpenAI-compatible endpoint: where to ask, and what may be spent. Part of the settings."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from annotator.errors import ConfigurationError


class Endpoint(BaseModel):
    """One OpenAI-compatible endpoint: a ``[chat.NAME]`` table of annotator.toml. Nothing is sent before it names one.

    ``kind`` is ``openai`` for a paid service that sees the full-size crop (as the paper's ChatGPT runs did), or
    ``self-hosted`` for a vLLM / SGLang of one's own that serves a LLaVA and sees the padded square.
    Prices are in US dollars per million tokens; without prices the cost is counted as 0 and no cap can hold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    model: str
    kind: Literal["openai", "self-hosted"] = "openai"
    api_key_env: str | None = Field(default="OPENAI_API_KEY", description="the variable that holds the key")
    detail: Literal["low", "high", "auto"] = "auto"
    image_side: int = Field(default=336, gt=0, description="side of the padded square, self-hosted only")
    crop: Literal["body", "face", "no-face"] = "body"
    concurrency: int = Field(default=8, ge=1, le=256)
    timeout_s: float = Field(default=60, gt=0)
    retries: int = Field(default=4, ge=0, description="with back-off, on 429, 5xx and time-outs")
    retry_lost: bool = Field(default=False, description="ask again where a run was killed between request and answer")
    requests_per_minute: float | None = Field(default=None, gt=0)
    requests_per_day: int | None = Field(default=None, gt=0)
    max_cost_usd: float | None = Field(default=None, gt=0, description="stop asking when this much was spent")
    input_usd_per_million: float = Field(default=0, ge=0)
    output_usd_per_million: float = Field(default=0, ge=0)

    def api_key(self) -> str:
        """The key from the environment; servers of one's own often need none.

        Raises:
            ConfigurationError: the variable is not set.
        """
        if self.api_key_env is None:
            return "none"
        key = os.environ.get(self.api_key_env)
        if key:
            return key
        if self.kind == "self-hosted":
            return "none"
        raise ConfigurationError(f"the endpoint {self.base_url} needs its key in the variable {self.api_key_env}")

    def check(self) -> None:
        """Refuse a cap that could not hold.

        Raises:
            ConfigurationError: ``max_cost_usd`` without prices.
        """
        if self.max_cost_usd is not None and self.input_usd_per_million + self.output_usd_per_million == 0:
            raise ConfigurationError(
                f"max_cost_usd of '{self.model}' cannot hold without input_usd_per_million and output_usd_per_million"
            )

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars for one request."""
        return (input_tokens * self.input_usd_per_million + output_tokens * self.output_usd_per_million) / 1e6
