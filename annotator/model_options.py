"""How one named model is run. Part of the settings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ModelOptions(BaseModel):
    """One ``[models.NAME]`` table of annotator.toml: how that detector or predictor is run.

    With ``weights`` NAME may be a new one, so that the same weights can be used twice, each with options of its own.
    An option that changes results is part of the model's version; an option that the model does not have is refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: str | None = Field(default=None, description="another model's name, or FAMILY:PATH")
    batch_size: int | None = Field(default=None, ge=1, description="pictures or people in one pass")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(default="auto", description="the arithmetic")
    inputs: Literal["body+face", "body", "face", "no-face"] = Field(
        default="body+face", description="MiVOLO: which crops it sees"
    )
    crops: Literal["inference", "dataset"] = Field(
        default="inference", description="MiVOLO: which of the reference's two rules crops follow"
    )
    compiled: bool = Field(default=False, description="MiVOLO: torch.compile, for long runs on a GPU")
    answer: Literal["median", "greedy"] = Field(default="median", description="LLaVA: which estimate the age is")
    template: str | None = Field(default=None, description="LLaVA: the conversation around the question")
    crop: Literal["body", "face", "no-face"] = Field(default="body", description="LLaVA: what it sees")
    tree: Literal["prefix", "full"] = Field(default="prefix", description="LLaVA: how far answers are scored")
    quantisation: Literal["4bit", "8bit"] | None = Field(default=None, description="LLaVA: of the language model")
    device_map: str | dict[str, int | str] | None = Field(
        default=None, description="LLaVA: spread over GPUs: auto, balanced, sequential, or device by module"
    )

    def merged(self, over: ModelOptions) -> ModelOptions:
        """These options with those that ``over`` sets put over them.

        >>> ModelOptions(batch_size=4, crop="face").merged(ModelOptions(crop="body")).model_dump(exclude_unset=True)
        {'batch_size': 4, 'crop': 'body'}
        """
        return ModelOptions(**(self.model_dump(exclude_unset=True) | over.model_dump(exclude_unset=True)))
