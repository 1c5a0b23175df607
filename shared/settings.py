"""The only reader of the environment. `wiring` builds one `Settings`; nothing else imports this module."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from shared.domain import Wording
from shared.errors import Misconfigured
from shared.telemetry import logger
from shared.tenants import Tenants

_PACKAGE = Path(__file__).resolve().parent
ENGINES = ("vllm", "llama.cpp", "openai")
_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonwebservices.com.cn")
PROMPTS = ("few-shot", "tuned", "instruct")
WORDINGS: tuple[Wording, ...] = get_args(Wording)


@dataclass(frozen=True, slots=True)
class Settings:
    """One deployment's settings; every field is an environment variable of the same name in capitals.

    stage: ``local`` lets a request without an authorizer in as tenant `tenant`; anywhere else that is a 401.
    artifacts_dir: folder with one sub-folder a model artefact.
    llm_url: an OpenAI-compatible base URL (``…/v1``); empty: none. Ignored where a SageMaker endpoint is named.
    llm_key_secret_id: a secret of AWS Secrets Manager with the key that requests to `llm_url` bear, as it is sent;
        llm_api_key: the key itself, where there is no such place (a function's settings are no place for it).
    llm_engine: what serves the model, for its dialect: vllm, llama.cpp or openai; empty: vllm behind SageMaker,
        llama.cpp at `llm_url`.
    llm_prompt: style of the prompt, a file of ``shared/generating/prompts``: few-shot, tuned or instruct;
        llm_adapter_prompt: of requests that name an adapter.
    llm_adapters: brand voices that the endpoint serves, by comma: ``name`` for every tenant, ``tenant/name`` for one.
    llm_price_per_hour: of the endpoint, USD; 0: not known. Only for estimates.
    llm_constrained: decode under a grammar made from the ad's facts, where the engine has it.
    llm_wording: what a model's text may consist of beside words that state nothing: the ad's phrases as they stand
        there (quoted), the ad's words (literal), or what the ledger and the readers believe (free), which lets livelier
        copy of a strong model through, and more of what a weak one invents. judged: as free, but of a model's copy and
        a person's what the endpoint's own model believes in the readers' place (`shared.generating.judging`): for a
        large model alone.
    consent_basis: ``asserted`` or ``required`` (DESIGN section 3), of tenants that `tenants` gives none.
    tenants: JSON, see `shared.tenants`.
    tenant_claim: of a JWT, that names the caller's tenant (Amazon Cognito: ``custom:tenant``).
    tcf_vendor_id: the deployment's own id in IAB Europe's Global Vendor List, whose consent a TC string must give; 0:
        it is none of those vendors.
    erasure_delay_seconds: between the steps of an erasure, longer than any request lives (`shared.erasing`).
    decision_log_days: that the bucket keeps the decision log.
    k_floor: the smallest group about which anything may be stored or shared.
    exploration: chance that a slot shows an ad other than its best, and rotation that the filled slots change places,
        both in [0, 0.5]: what other policies are estimated from (`shared.exploration`). 0: nothing can be learned.
    training_image: of SageMaker training jobs; empty: none are started there. With it go training_role (ARN),
        training_source (``s3://…/source.tar.gz``), training_job_prefix (first part of the jobs' names),
        training_instance_type, training_spot, training_kms_key (empty: AWS's keys) and, for a network of one's own,
        training_subnets and training_security_groups (by comma).
    training_max_seconds: what a training job may take.
    training_queue_url: of the local run, whose worker trains; empty: nobody does.
    open_rtb_tenant: whose auctions and notices are taken without a caller; empty: nobody's. open_rtb_origins: by comma,
        of the pages that may send them (`shared.openrtb.opening`).
    open_rtb_currency: of the ads' bids, as exchanges name it (ISO 4217). open_rtb_seat: the deployment's name there.
    open_rtb_eid_source: of the entry of ``user.eids`` whose ids are those of events; empty: none is looked for.
    open_rtb_pixel: banners carry an image that tells of their impression, for exchanges that send no billing notice.
    pseudonym_key_file / pseudonym_secret_id: where the HMAC key of external ids is kept (a file locally).
    """

    stage: str = "local"
    tenant: str = "demo"
    table_name: str = "adtailor"
    bucket_name: str = "adtailor"
    copy_queue_url: str = ""
    catalogue_queue_url: str = ""
    event_queue_url: str = ""
    ad_queue_url: str = ""
    artifacts_dir: Path = _PACKAGE / "artifacts"
    llm_url: str = ""
    llm_key_secret_id: str = ""
    llm_api_key: str = field(default="", repr=False)
    llm_model: str = "local"
    llm_timeout_seconds: float = 20.0
    llm_engine: str = ""
    llm_prompt: str = "few-shot"
    llm_adapter_prompt: str = "tuned"
    llm_adapters: str = ""
    llm_price_per_hour: float = 0.0
    llm_constrained: bool = False
    llm_wording: Wording = "quoted"
    sagemaker_endpoint: str = ""
    sagemaker_async_endpoint: str = ""
    exploration: float = 0.05
    rotation: float = 0.05
    training_image: str = ""
    training_role: str = ""
    training_source: str = ""
    training_job_prefix: str = "adtailor"
    training_instance_type: str = "ml.g5.xlarge"
    training_max_seconds: int = 3600
    training_spot: bool = True
    training_kms_key: str = ""
    training_subnets: str = ""
    training_security_groups: str = ""
    training_queue_url: str = ""
    consent_basis: str = "required"
    tenants: str = ""
    tenant_claim: str = "tenant"
    tcf_vendor_id: int = 0
    open_rtb_tenant: str = ""
    open_rtb_origins: str = ""
    open_rtb_currency: str = "USD"
    open_rtb_seat: str = "adtailor"
    open_rtb_eid_source: str = ""
    open_rtb_pixel: bool = False
    erasure_delay_seconds: float = 200.0
    decision_log_days: float = 90.0
    k_floor: int = 50
    pseudonym_key_file: str = ""
    pseudonym_secret_id: str = ""
    threads: int = 0

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Reads `env` (the process environment by default).

        Raises:
            ValueError: a variable does not parse; the message names it.
        """
        env = os.environ if env is None else env
        values: dict[str, object] = {}
        for name, annotation in cls.__annotations__.items():
            raw = env.get(name.upper())
            if raw is None or raw == "":
                continue
            convert: Callable[[str], object] = _CONVERT.get(str(annotation), str)
            try:
                values[name] = convert(raw)
            except ValueError as error:
                raise ValueError(f"{name.upper()}={raw!r} is not a valid {annotation}") from error
        settings = cls(**values)  # type: ignore[arg-type]
        if settings.consent_basis not in ("asserted", "required"):
            raise ValueError(f"CONSENT_BASIS={settings.consent_basis!r}: asserted or required")
        Tenants.parse(settings.tenants, basis=settings.consent_basis)
        # A function on AWS's own services that lets everybody in is a mistake; sam local and an emulator are not.
        on_aws = env.get("AWS_LAMBDA_FUNCTION_NAME") and not _emulated(env.get("AWS_ENDPOINT_URL", ""))
        if settings.stage == "local" and on_aws and env.get("AWS_SAM_LOCAL") != "true":
            raise ValueError("STAGE='local' lets requests in without a caller: deploy with another stage")
        if settings.llm_engine not in ("", *ENGINES):
            raise ValueError(f"LLM_ENGINE={settings.llm_engine!r}: one of {', '.join(ENGINES)}")
        _check_key(settings)
        if settings.llm_wording not in WORDINGS:
            raise ValueError(f"LLM_WORDING={settings.llm_wording!r}: one of {', '.join(WORDINGS)}")
        for name in ("llm_prompt", "llm_adapter_prompt"):
            if getattr(settings, name) not in PROMPTS:
                raise ValueError(f"{name.upper()}={getattr(settings, name)!r}: one of {', '.join(PROMPTS)}")
        if not 0 <= settings.tcf_vendor_id <= 65535:
            raise ValueError(f"TCF_VENDOR_ID={settings.tcf_vendor_id!r}: an id of the Global Vendor List, or 0")
        for name in ("exploration", "rotation"):
            if not 0 <= getattr(settings, name) <= 0.5:
                raise ValueError(f"{name.upper()}={getattr(settings, name)!r}: a number from 0 to 0.5")
        return settings


def _check_key(settings: Settings) -> None:
    """Raises ValueError where the language model's key cannot be sent, or would be read by anybody on its way."""
    key, url = settings.llm_api_key, urlsplit(settings.llm_url)
    if key and not (key.isascii() and key.isprintable() and key == key.strip()):
        raise ValueError("LLM_API_KEY: letters, digits and signs, without a break or a space around them")
    local = url.hostname in ("localhost", "127.0.0.1", "::1")
    if (key or settings.llm_key_secret_id) and url.scheme == "http" and not local:
        raise ValueError("LLM_URL is http and has a key, which anybody on the way could read: https, or this machine")


def own_settings() -> Settings:
    """Of this process.

    Raises:
        Misconfigured: the environment holds a mistake. What it is stands in the log: settings name nobody, and who asks
            from outside need not know them.
    """
    try:
        return Settings.from_env()
    except ValueError as error:
        logger.error("the settings are refused", extra={"reason": str(error)})
        raise Misconfigured("the settings of this deployment are wrong: the function's log says which") from None


def _emulated(endpoint: str) -> bool:
    """Whether AWS's services are reached at an address that is not AWS's own (as those of VPC endpoints are)."""
    host = urlsplit(endpoint).hostname or ""
    return bool(host) and not f".{host}".endswith(_AWS)


def initialization() -> str:
    """How Lambda made this process: ``on-demand``, ``provisioned-concurrency`` or ``snap-start``; empty elsewhere."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", "")


def _switch(raw: str) -> bool:
    if raw.lower() not in ("true", "false", "1", "0"):
        raise ValueError(raw)
    return raw.lower() in ("true", "1")


_CONVERT: dict[str, Callable[[str], object]] = {"int": int, "float": float, "Path": Path, "bool": _switch}


def listed(names: str) -> tuple[str, ...]:
    """What stands between the commas of a setting."""
    return tuple(name.strip() for name in names.split(",") if name.strip())
