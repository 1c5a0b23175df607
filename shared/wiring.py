"""Composition root: settings to adapters to use cases, built once and lazily. Nothing is opened on import.

A function that never embeds a text never loads the encoder; one that never generates never looks for an endpoint.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any, cast

from shared import preprocess
from shared.errors import ArtifactError, NotFound
from shared.settings import Settings, initialization, listed, own_settings
from shared.stores import Stores, deferred_key, file_key, open_stores, secret_key
from shared.stores.clients import Deferred, signing
from shared.tenants import Tenants
from shared.trained import Trained, fetch, forget, surplus

if TYPE_CHECKING:
    from shared.classifying import Classifying
    from shared.erasing import Erasing
    from shared.exporting import Exporting
    from shared.generating import Generating
    from shared.models.classifier import Head, TaxonomyClassifier
    from shared.models.encoder import Encoder
    from shared.models.generator import Engine, TextGenerator
    from shared.models.readers import Readers
    from shared.models.sagemaker import SageMakerAsync
    from shared.models.text_clicks import TextClicks
    from shared.models.trained_ranker import TrainedRanker
    from shared.profiles import ProfileReader
    from shared.profiling import Profiling
    from shared.quotas import Quotas
    from shared.ranker_training import RankerTraining
    from shared.recommending import Recommending
    from shared.snapshot import Snapshots
    from shared.stores.answers import Answers
    from shared.stores.training_jobs import TrainingJobs
    from shared.training import Training
    from shared.uploading import Uploading

TAXONOMIES = ("adproduct", "content")
HELD_HEADS = 4  # trained heads that a process keeps loaded
LEARNED = ("encoder", "readers", "classifiers", "versions", "descriptions")  # whoever calls, on whatever connection
__all__ = ["TAXONOMIES", "System", "initialization", "system"]


class System:
    """One deployment in one process. Every part is built at its first use; `clock` gives epoch seconds."""

    def __init__(self, settings: Settings, stores: Stores | None = None, clock: Any = time.time) -> None:
        self.settings = settings
        self.clock = clock
        self._stores = stores
        self._heads: dict[tuple[str, str, str], Head] = {}
        self._clients: list[Deferred] = []

    def renew(self) -> None:
        """Forgets every part but what was learned: clients with their connections and credentials, the key of external
        ids, and whatever holds them. They are made anew at their next use."""
        for client in self._clients:
            client.drop()
        self._clients.clear()
        for name, part in vars(type(self)).items():
            if isinstance(part, cached_property) and name not in LEARNED:
                self.__dict__.pop(name, None)

    # Services ---------------------------------------------------------------------------------------------------

    @cached_property
    def descriptions(self) -> Any:
        """botocore's descriptions of the services: large JSON files, parsed once a process whatever the session."""
        from botocore.loaders import create_loader

        return create_loader()

    def _client(self, service: str, **bounds: Any) -> Deferred:
        """A client of the service. Without boto3, which only S3's transfers need: it takes half as long again."""

        def make() -> Any:
            from botocore.config import Config
            from botocore.session import get_session

            session = get_session()
            session.register_component("data_loader", self.descriptions)
            config = Config(max_pool_connections=32, **bounds)
            if service != "s3":
                return session.create_client(service, config=config)
            import boto3

            return boto3.Session(botocore_session=session).client(service, config=config)

        client = Deferred(make)
        self._clients.append(client)
        return client

    def _store_client(self, service: str) -> Deferred:
        """Bounded: three tries with jitter, and no call outlives a request."""
        return self._client(
            service,
            retries={"mode": "standard", "max_attempts": 3},
            connect_timeout=2,
            read_timeout=10,
            # `shared.stores.table` writes the wire form itself: checking it again costs a third of an ingest.
            parameter_validation=service != "dynamodb",
            **(signing(emulated=self.settings.stage == "local") if service == "s3" else {}),
        )

    def parse(self) -> None:
        """Parses the descriptions of the services that every function uses, without a call to any of them."""
        for service in ("dynamodb", "s3", "sqs"):
            self._store_client(service).meta  # noqa: B018 - makes the client
        self.renew()

    @cached_property
    def stores(self) -> Stores:
        if self._stores is not None:
            return self._stores
        settings = self.settings
        if settings.pseudonym_secret_id:
            key = secret_key(self._store_client("secretsmanager"), settings.pseudonym_secret_id)
        else:
            key = file_key(Path(settings.pseudonym_key_file or f"{gettempdir()}/adtailor-pseudonym.key"))
        return open_stores(
            dynamodb=self._store_client("dynamodb"),
            s3=self._store_client("s3"),
            sqs=self._store_client("sqs"),
            table_name=settings.table_name,
            bucket_name=settings.bucket_name,
            copy_queue_url=settings.copy_queue_url,
            catalogue_queue_url=settings.catalogue_queue_url,
            event_queue_url=settings.event_queue_url,
            ad_queue_url=settings.ad_queue_url,
            training_queue_url=settings.training_queue_url,
            pseudonym_key=key,
            wording=settings.llm_wording,
        )

    @cached_property
    def tenants(self) -> Tenants:
        return Tenants.parse(self.settings.tenants, basis=self.settings.consent_basis)

    @cached_property
    def quotas(self) -> Quotas:
        from shared.quotas import Quotas
        from shared.stores.quotas import Taken

        return Quotas(lambda: Taken(self.stores.table), self.tenants.limits, clock=self.clock)

    @cached_property
    def idempotency(self) -> Any:
        """Powertools' records of the requests that came with an ``Idempotency-Key``."""
        from shared.stores.idempotency import IdempotencyRecords

        return IdempotencyRecords(self.stores.table.client, self.settings.table_name)

    @cached_property
    def answers(self) -> Answers:
        from shared.stores.answers import Answers

        return Answers(self.stores.table, self.stores.people, consent_basis=self.tenants.consent_basis)

    # Models -----------------------------------------------------------------------------------------------------

    @cached_property
    def encoder(self) -> Encoder:
        from shared.models.encoder import Encoder

        return Encoder.load(self.settings.artifacts_dir / "encoder", threads=self.settings.threads)

    @cached_property
    def readers(self) -> Readers:
        """Those who read claims and the law; a language's are loaded when they are first asked for."""
        from shared.models.readers import Readers

        return Readers.of(self.settings.artifacts_dir, threads=self.settings.threads)

    @cached_property
    def classifiers(self) -> Mapping[str, TaxonomyClassifier]:
        """By taxonomy; each is loaded when it is first asked for."""
        return _Classifiers(self.settings.artifacts_dir)

    def head(self, tenant: str, name: str) -> Head:
        """The tenant's trained head of that name, from S3, loaded once a version.

        Raises:
            NotFound: the tenant has none of that name; ArtifactError: its files are not what its manifest says.
        """
        from shared.models.classifier import Head

        prefix = f"artifacts/{tenant}/heads/{name}"
        none = NotFound(f"no head {name!r}: train one, or use {', '.join(TAXONOMIES)}", field="head")
        if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
            raise none
        try:
            version = self.stores.objects.get(f"{prefix}/latest").decode()
        except NotFound:
            raise none from None
        if (tenant, name, version) not in self._heads:
            folder = fetch(self.stores.objects, tenant, f"heads/{name}", version)
            try:
                loaded = Head.load(folder, threads=self.settings.threads)
            except ArtifactError:
                forget(tenant, f"heads/{name}", version)  # the next request fetches it anew: it may have been mended
                raise
            self._heads[tenant, name, version] = loaded
            for other in surplus(self._heads, HELD_HEADS):
                self._heads.pop(other, None)
                forget(other[0], f"heads/{other[1]}", other[2])  # or /tmp fills up
            return loaded
        return self._heads[tenant, name, version]

    @cached_property
    def versions(self) -> dict[str, str]:
        """What answers: model and data versions that every response carries."""
        from shared.models.artifacts import load_manifest

        versions = {"preprocess": preprocess.PREPROCESS_VERSION}
        for name in ("encoder", *(f"taxonomy-{taxonomy}" for taxonomy in TAXONOMIES)):
            versions[name] = load_manifest(self.settings.artifacts_dir / name).version
        return versions

    # Use cases --------------------------------------------------------------------------------------------------

    @cached_property
    def profiles(self) -> ProfileReader:
        from shared.profiles import ProfileReader

        return ProfileReader(
            self.stores.people,
            self.stores.catalogue,
            lambda: self.classifiers,
            consent_basis=self.tenants.consent_basis,
            k_floor=self.settings.k_floor,
            clock=self.clock,
        )

    @cached_property
    def snapshots(self) -> Snapshots:
        from shared.snapshot import Snapshots

        return Snapshots(
            self.stores,
            project=self.classifiers["adproduct"].project,
            clock=self.clock,
            prepare=lambda tenant, snapshot: self.recommending.prepare(tenant, snapshot),  # noqa: PLW0108 - made later
        )

    @cached_property
    def profiling(self) -> Profiling:
        from shared.profiling import Profiling

        return Profiling(
            self.stores,
            lambda: self.encoder,
            self.profiles,
            consent_basis=self.tenants.consent_basis,
            clock=self.clock,
            quotas=self.quotas,
            tcf_vendor_id=self.settings.tcf_vendor_id,
            on_withdrawal=lambda tenant, uid: self.erasing.withdraw(tenant, uid),  # noqa: PLW0108 - made when needed
        )

    @cached_property
    def exporting(self) -> Exporting:
        from shared.exporting import Exporting

        return Exporting(self.stores, self.profiles, clock=self.clock)

    @cached_property
    def erasing(self) -> Erasing:
        from shared.erasing import Erasing

        return Erasing(
            self.stores,
            clock=self.clock,
            delay_seconds=self.settings.erasure_delay_seconds,
            log_days=self.settings.decision_log_days,
        )

    @cached_property
    def classifying(self) -> Classifying:
        from shared.classifying import Classifying
        from shared.policy.rules import check

        return Classifying(
            self.stores,
            lambda: self.encoder,
            lambda: self.classifiers,
            self.head,
            check,
            clock=self.clock,
            quotas=self.quotas,
        )

    @cached_property
    def uploading(self) -> Uploading:
        from shared.uploading import Uploading

        return Uploading(self.stores, clock=self.clock, reserved=TAXONOMIES)

    @cached_property
    def training(self) -> Training:
        from shared.training import Training

        return Training(
            self.stores,
            self._training_jobs(),
            prefix=self.settings.training_job_prefix,
            reserved=TAXONOMIES,
            clock=self.clock,
            quotas=self.quotas,
        )

    @cached_property
    def ranker_training(self) -> RankerTraining:
        from shared.ranker_training import RankerTraining

        return RankerTraining(
            self.stores,
            self._training_jobs(),
            self.snapshots,
            project=self.classifiers["adproduct"].project,
            prefix=self.settings.training_job_prefix,
            clock=self.clock,
        )

    def _training_jobs(self) -> TrainingJobs | None:
        """What trains: SageMaker, else the worker of the local run, else nothing."""
        settings = self.settings
        if not settings.training_image and not settings.training_queue_url:
            return None
        from shared.stores.training_jobs import QueuedJobs, SageMakerJobs, SageMakerPlace

        if not settings.training_image:
            seconds = settings.training_max_seconds
            return QueuedJobs(self.stores.queues, self.stores.objects, max_seconds=seconds)
        place = SageMakerPlace(
            image=settings.training_image,
            role=settings.training_role,
            source=settings.training_source,
            bucket=settings.bucket_name,
            instance_type=settings.training_instance_type,
            max_seconds=settings.training_max_seconds,
            spot=settings.training_spot,
            kms_key=settings.training_kms_key,
            subnets=listed(settings.training_subnets),
            security_groups=listed(settings.training_security_groups),
            stack=settings.training_job_prefix,
        )
        return SageMakerJobs(self._store_client("sagemaker"), place)

    @cached_property
    def text_clicks(self) -> Trained[TextClicks]:
        """The tenants' click models of texts."""

        def load(folder: Path) -> TextClicks:
            from shared.models.text_clicks import TextClicks

            return TextClicks.load(folder, threads=self.settings.threads)

        return Trained(self.stores.objects, "text-clicks", load, clock=self.clock)

    @cached_property
    def rankers(self) -> Trained[TrainedRanker]:
        """The tenants' trained rankers, as the gate let them out."""

        def load(folder: Path) -> TrainedRanker:
            from shared.models.trained_ranker import TrainedRanker

            return TrainedRanker.load(folder, threads=self.settings.threads)

        return Trained(self.stores.objects, "ranker", load, clock=self.clock)

    @cached_property
    def recommending(self) -> Recommending:
        from shared.models.ranker import Ranker
        from shared.recommending import Exploring, Recommending

        return Recommending(
            self.stores,
            self.snapshots,
            self.profiles,
            Ranker(),
            self.rankers.latest,
            project=self.classifiers["adproduct"].project,
            versions=self.versions,
            exploring=Exploring(self.settings.exploration, self.settings.rotation),
            clock=self.clock,
        )

    @cached_property
    def generating(self) -> Generating:
        from shared.generating import Generating, Styles
        from shared.policy.rules import check

        return Generating(
            self.stores,
            lambda: self.encoder,
            lambda: self.classifiers["adproduct"],
            self.profiles,
            check,
            generator=self._generator(),
            asynchronous=self._asynchronous(),
            k_floor=self.settings.k_floor,
            clock=self.clock,
            versions=lambda: self.versions,
            timeout_seconds=self.settings.llm_timeout_seconds,
            styles=Styles(self.settings.llm_prompt, self.settings.llm_adapter_prompt),
            adapters=listed(self.settings.llm_adapters),
            price_per_hour=self.settings.llm_price_per_hour,
            constrained=self.settings.llm_constrained,
            reader=lambda: self.readers,
            wording=self.settings.llm_wording,
            text_clicks=self.text_clicks.latest,
            quotas=self.quotas,
        )

    def _generator(self) -> TextGenerator | None:
        """What writes while the caller waits: the real-time endpoint, else the OpenAI-compatible URL, else nothing."""
        settings = self.settings
        if settings.sagemaker_endpoint:
            from shared.models.sagemaker import SageMakerRealtime

            return SageMakerRealtime(settings.sagemaker_endpoint, self._sagemaker(1), engine=self._engine("vllm"))
        if settings.llm_url:
            from shared.models.openai import OpenAICompatible

            bounds: dict[str, Any] = {"retries": {"total_max_attempts": 2}, "connect_timeout": 1, "read_timeout": 2}
            secrets = self._client("secretsmanager", **bounds)
            key = deferred_key(secrets, settings.llm_key_secret_id) or settings.llm_api_key
            return OpenAICompatible(settings.llm_url, settings.llm_model, engine=self._engine("llama.cpp"), api_key=key)
        return None

    def _asynchronous(self) -> SageMakerAsync | None:
        if not self.settings.sagemaker_async_endpoint:
            return None
        from shared.models.sagemaker import SageMakerAsync, in_bucket

        put, read = in_bucket(self.stores.objects)
        return SageMakerAsync(
            self.settings.sagemaker_async_endpoint,
            self._sagemaker(attempts=3),
            put=put,
            read=read,
            engine=self._engine("vllm"),
        )

    def _engine(self, usual: Engine) -> Engine:
        return cast("Engine", self.settings.llm_engine or usual)

    def _sagemaker(self, attempts: int) -> Any:
        """boto3's client; with one attempt, retries are the caller's own, within its deadline."""
        retries = {"total_max_attempts": attempts, "mode": "standard"}
        seconds = self.settings.llm_timeout_seconds
        return self._client("sagemaker-runtime", retries=retries, connect_timeout=1, read_timeout=seconds)


class _Classifiers(Mapping[str, "TaxonomyClassifier"]):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[str, TaxonomyClassifier] = {}

    def __getitem__(self, name: str) -> TaxonomyClassifier:
        if name not in TAXONOMIES:
            raise KeyError(name)
        if name not in self._loaded:
            from shared.models.artifacts import load_manifest
            from shared.models.classifier import TaxonomyClassifier

            encoder = load_manifest(self._folder / "encoder").version
            self._loaded[name] = TaxonomyClassifier.load(self._folder / f"taxonomy-{name}", encoder)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(TAXONOMIES)

    def __len__(self) -> int:
        return len(TAXONOMIES)


@cache
def system() -> System:
    """The process's system, from its environment. Raises `Misconfigured`."""
    return System(own_settings())
