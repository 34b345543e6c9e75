"""Cue phrases of negation, uncertainty and of what was only asked, in English radiology reports.

">" behind a kind: the phrase stands before its findings; "<" before it: behind them. `neutral` phrases hold
words of a cue and are none.
"""

from __future__ import annotations

SEEN = (
    *("seen", "identified", "appreciated", "visualized", "visualised", "demonstrated", "detected", "evident"),
    *("noted", "apparent", "observed", "found", "visible", "present", "recognized", "definitely seen"),
    *(
        "clearly seen",
        "definitely identified",
        "clearly identified",
        "encountered",
        "distinguished",
        "selected",
    ),
    *("monitored", "followed", "depicted", "discerned"),
)

_FOUND = ("seen", "identified", "detected", "visualized", "visualised", "appreciated", "found")
_GONE = ("resolved", "cleared", "disappeared", "regressed")
_PARTLY = (
    *("nearly", "almost", "almost completely", "nearly completely", "almost entirely", "partially", "partly"),
    *("incompletely", "mostly", "largely"),
)
_IN_PART = (
    *("near", "near complete", "nearly complete", "near total", "almost complete", "partial", "incomplete"),
    "no",
)
CUES: dict[str, tuple[str, ...]] = {
    "negated>": (
        *("no", "not", "without", "nor", "neither", "never", "non", "no evidence of", "negative for"),
        *("free of", "clear of", "free from", "absence of", "lack of", "absent", "denies", "rather than"),
        *("instead of", "resolution of", "removal of", "resolved", "exclude the presence of", "devoid of"),
        *("fails to demonstrate", "fails to show", "no longer", "clearing of", "nil", "neg for"),
        *("cannot see", "cannot identify", "cannot detect"),
    ),
    "<negated": (
        *(f"not {word}" for word in SEEN),
        *(f"no longer {word}" for word in SEEN),
        *(f"{could} not be {word}" for could in ("can", "could") for word in _FOUND),
        *(f"cannot be {word}" for word in _FOUND),
        *(
            *("is absent", "are absent", "has resolved", "have resolved", "been removed", "ruled out"),
            *("is gone", "are gone"),
        ),
        *("is excluded", "are excluded", "been excluded", "has cleared", "have cleared", "removed"),
        *(
            "nowhere seen",
            "none seen",
            "is negative",
            "disappeared",
            "completely regressed",
            "full regression",
        ),
    ),
    "uncertain>": (
        *("possible", "possibly", "probable", "probably", "may", "might", "could", "perhaps", "suspected"),
        *("suspect", "suspicious", "suspicious for", "suspicion of", "suspicion for", "concern for"),
        *("concerning for", "worrisome for", "questionable", "question", "question of", "questioned"),
        *("suggest", "suggesting", "suggestive of", "suggested", "suggestion of", "cannot exclude"),
        *("can not exclude", "cannot rule out", "can not rule out", "not exclude", "difficult to exclude"),
        *("equivocal", "raise the possibility of", "raising the possibility of", "possibility of"),
        *("presumably", "presumed", "favor", "favored", "favoring", "differential includes", "borderline"),
        *("differential diagnosis includes", "differential considerations include", "considerations include"),
        *("considerations would include", "differential diagnosis including", "differential including"),
        *("cannot entirely exclude", "cannot completely exclude", "doubtful", "uncertain", "likely", "query"),
        *(
            "not clear whether",
            "unclear whether",
            "indeterminate for",
            "in favor of",
            "may be compatible with",
        ),
    ),
    "<uncertain": (
        *("is possible", "are possible", "not excluded", "not entirely excluded"),
        *("cannot be excluded", "cannot be entirely excluded", "cannot be completely excluded"),
        *("can not be excluded", "cannot be ruled out", "can not be ruled out", "is suspected"),
        *("are suspected", "is questioned", "is questionable", "be considered", "in the differential"),
        *("less likely", "unlikely", "be present", "is likely", "are likely", "is probable", "not ruled out"),
        *("is difficult to exclude", "not completely excluded", "is suggested", "are suggested"),
        *("is another consideration", "is a consideration", "are considerations", "remains a consideration"),
        *("be a consideration", "not well seen", "not well visualized", "not well visualised"),
        *("not well demonstrated", "not well appreciated"),
        "?",
        *("is uncertain", "is doubtful", "also be present", "cannot be fully excluded", "not fully excluded"),
        *(
            f"not be {how}{out}"
            for how in ("", "entirely ", "completely ", "fully ", "definitely ", "definitively ")
            for out in ("excluded", "ruled out")
        ),
        *(f"{must} be {out}" for must in ("should", "must", "to") for out in ("excluded", "ruled out")),
    ),
    "hypothetical>": (
        *(
            "evaluate for",
            "evaluation for",
            "evaluation of",
            "rule out",
            "to exclude",
            "exclude",
            "assess for",
        ),
        *("history of", "risk of", "screening for", "look for", "excluding", "if there is"),
        *("could obscure", "may obscure", "obscure", "obscuring", "risk for", "could mask"),
        *("in terms of", "followed for", "followed up for", "follow up for", "known to have", "operated for"),
        *("in case of", "eval for", "assessment of", "clinical concern for", "to evaluate"),
    ),
    "<hypothetical": (
        *("may not be demonstrated", "may not be seen", "may not be visible", "may not be detected"),
        *(
            "not be evaluated",
            "not be evaluated optimally",
            "not be clearly evaluated",
            "evaluated as suboptimal",
        ),
        *("not evaluated optimally", "not be characterized", "not be differentiated"),
        *("not well evaluated", "cannot be evaluated", "can not be evaluated", "not adequately evaluated"),
    ),
    "neutral": (
        *("no change", "no significant change", "no interval change", "no significant interval change"),
        *("no increase", "no significant increase", "no decrease", "no improvement", "not only"),
        *("without change", "without significant change", "without interval change", "no relevant change"),
        *("no substantial change", "no appreciable change", "not significantly changed", "not changed"),
        *("not necessarily", "no prior", "no comparison", "not been removed", "no further", "no difference"),
        *("no major change", "no acute change", "not substantially changed", "not appreciably changed"),
        *(
            "no significant difference",
            "no obvious difference",
            "no difference was",
            "not differ",
            "no change was",
        ),
        *("not sufficient", "no clear difference", "no apparent difference"),
        *("no definite change", "no progression", "no worsening"),
        *(f"not {gone}" for gone in _GONE),
        *(f"not {how} {gone}" for how in ("yet", "completely", "fully", "entirely") for gone in _GONE),
        *(f"{how} {gone}" for how in _PARTLY for gone in _GONE),
        *(f"{how} {end} of" for how in _IN_PART for end in ("resolution", "clearing", "removal")),
    ),
}
