"""The readers of both languages, loaded when they are first asked for: the ledger and the law's rules beside them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from threading import Lock

from shared.domain import Ad, Claim, Language
from shared.errors import ArtifactError
from shared.models.policy_reader import PolicyReader, reads
from shared.models.reader import KIND, ClaimReader, reader_for
from shared.policy.likeness import Like, likeness
from shared.policy.reading import weighed

Loaded = tuple[ClaimReader, PolicyReader]


class Readers:
    """`load` gives a language's readers; what it gave is kept, and why it could not give them too."""

    def __init__(self, load: Callable[[Language], Loaded]) -> None:
        self._load_both = load
        self._loaded: dict[Language, Loaded | ArtifactError] = {}
        self._lock = Lock()

    def _load(self, language: Language) -> Loaded:
        with self._lock:
            if language not in self._loaded:
                try:
                    self._loaded[language] = self._load_both(language)
                except ArtifactError as error:
                    self._loaded[language] = error
            found = self._loaded[language]
        if isinstance(found, ArtifactError):
            raise ArtifactError(found.detail)
        return found

    @classmethod
    def of(cls, artifacts: Path, threads: int = 0) -> Readers:
        """The readers among the artefacts."""

        def load(language: Language) -> Loaded:
            folder = artifacts / f"{KIND}-{language}"
            claims = ClaimReader.load(folder, threads)
            return claims, PolicyReader(claims, folder)

        return cls(load)

    def warm(self) -> None:
        """Loads the readers and has each read something."""
        facts = Ad(ad_id="-", title="-", landing_url="-", language="zh", domain="ecommerce")
        for text, jurisdiction in (("一", "CN"), ("one", "EU")):
            self._load(reader_for(text, facts))[0].read(facts, [text])
            self.lifts(text, 0, None, jurisdiction)

    def weigh(
        self, text: str, ad: Ad, claims: Sequence[Claim], *, audience: Sequence[str] = (), strict: bool = False
    ) -> list[Claim]:
        """The claims of a text after the reader was heard (`shared.policy.reading.weighed`); as they are where the ad
        is too long for it.

        Raises:
            ArtifactError: the reader cannot be loaded.
        """
        reader = self._load(reader_for(text, ad))[0]
        (doubt,) = reader.read(ad, [text], audience)
        if doubt is None:
            return list(claims)
        return weighed(claims, text, (doubt.logit, doubt.span), reader.metadata["weights"], strict=strict)

    def alike(
        self, text: str, domain: str | None, jurisdiction: str, rules: Container[str], margin: float
    ) -> Iterable[Like]:
        """See `PolicyReader.alike`; by n-grams where nobody reads such texts.

        Raises:
            ArtifactError: the reader cannot be loaded.
        """
        language = reads(text, jurisdiction)
        if language is None:
            return likeness(text, rules, english=jurisdiction != "CN", margin=margin)
        return self._load(language)[1].alike(text, domain, jurisdiction, rules, margin)

    def lifts(self, text: str, place: int, domain: str | None, jurisdiction: str) -> frozenset[str]:
        """See `PolicyReader.lifts`; none where nobody reads such texts.

        Raises:
            ArtifactError: the reader cannot be loaded.
        """
        language = reads(text, jurisdiction)
        return self._load(language)[1].lifts(text, place, domain, jurisdiction) if language is not None else frozenset()
