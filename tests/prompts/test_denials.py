"""Denials, questions and damaged words as reports write them, and the presence that each must be read as."""

from __future__ import annotations

import pytest

from benchmark.prompts.rules import RuleAligner
from benchmark.prompts.sections import report_sections, select
from benchmark.prompts.sentences import split_sentences

READ = {
    "Effusion: none.": "-pleural effusion",
    "Pneumothorax: no": "-pneumothorax",
    "Pneumothorax: No pneumothorax.": "-pneumothorax",
    "Edema: absent.": "-pulmonary edema",
    "Pneumothorax negative.": "-pneumothorax",
    "Pleural effusion (-)": "-pleural effusion",
    "Effusion: resolved.": "-pleural effusion",
    "Pleural effusion (\u2212), pneumothorax (+)": "-pleural effusion;+pneumothorax",
    "Nodule (+), effusion (-).": "+nodule;-pleural effusion",
    "Pneumothorax/effusion: none.": "-pneumothorax;-pleural effusion",
    "Pleural effusion: small left.": "+pleural effusion",
    "Pleural effusion: present.": "+pleural effusion",
    "Effusion: yes.": "+pleural effusion",
    "Effusion: no change.": "+pleural effusion",
    "Pneumothorax: none seen.": "-pneumothorax",
    "Pneumothorax: not seen.": "-pneumothorax",
    "Pneumonia: cannot be excluded.": "?pneumonia",
    "Pneumonia: possible.": "?pneumonia",
    "Pneumonia: likely.": "?pneumonia",
    "Effusion - none.": "-pleural effusion",
    "Effusion \u2013 none, pneumothorax \u2013 none.": "-pleural effusion;-pneumothorax",
    "Effusion none, edema present.": "-pleural effusion;+pulmonary edema",
    "Cardiomegaly: no evidence.": "-cardiomegaly",
    "Pneumothorax: no evidence of pneumothorax.": "-pneumothorax",
    "Effusion: nil.": "-pleural effusion",
    "Effusion is negative.": "-pleural effusion",
    "Consolidation: no, effusion: yes.": "-consolidation;+pleural effusion",
    "Pneumothorax absent.": "-pneumothorax",
    "Effusion: negative; edema: present": "-pleural effusion;+pulmonary edema",
    "Effusion: unlikely.": "?pleural effusion",
    "Nodules: No suspicious nodules.": "-nodule",
    "Pneumonia: no consolidation.": "-consolidation",
    "Effusion: small, no pneumothorax.": "+pleural effusion;-pneumothorax",
    "Consolidation: right lower lobe, no effusion.": "+consolidation;-pleural effusion",
    "Effusion absent, pneumothorax absent.": "-pleural effusion;-pneumothorax",
    "There isn't an effusion.": "-pleural effusion",
    "There isn\u2019t any pneumothorax.": "-pneumothorax",
    "I don't see a pneumothorax.": "-pneumothorax",
    "The heart isn't enlarged.": "-cardiomegaly",
    "An effusion wasn't seen.": "-pleural effusion",
    "Can't exclude pneumonia.": "?pneumonia",
    "Pneumonia can't be excluded.": "?pneumonia",
    "There aren't any nodules.": "-nodule",
    "Effusions haven't resolved.": "+pleural effusion",
    "It doesn't show a pneumothorax.": "-pneumothorax",
    "R/o pneumonia.": "",
    "r/o pneumothorax": "",
    "? pneumonia.": "?pneumonia",
    "?pneumonia": "?pneumonia",
    "Left basal consolidation, ?pneumonia.": "+consolidation;?pneumonia",
    "Query pneumonia.": "?pneumonia",
    "?effusion ?edema": "?pleural effusion;?pulmonary edema",
    "W/o effusion.": "-pleural effusion",
    "Nil effusion.": "-pleural effusion",
    "Lungs w/o consolidation or effusion": "-consolidation;-pleural effusion",
    "No longer seen is the effusion.": "-pleural effusion",
    "Not seen are effusions or edema.": "-pleural effusion;-pulmonary edema",
    "No effusion - edema present.": "-pleural effusion;+pulmonary edema",
    "No effusion \u2014 there is edema.": "-pleural effusion;+pulmonary edema",
    "No effusion \u2013 mild edema.": "-pleural effusion;+pulmonary edema",
    "The effusion has not resolved.": "+pleural effusion",
    "The effusion has nearly resolved.": "+pleural effusion",
    "Near complete resolution of the effusion.": "+pleural effusion",
    "The pneumothorax has almost completely resolved.": "+pneumothorax",
    "The edema has partially resolved.": "+pulmonary edema",
    "Partial resolution of edema.": "+pulmonary edema",
    "Incompletely resolved pneumonia.": "+pneumonia",
    "Pneumothorax not yet resolved.": "+pneumothorax",
    "Chest tube has not been removed.": "+chest drain tube",
    "The effusion has not cleared.": "+pleural effusion",
    "Resolving pneumonia.": "+pneumonia",
    "The effusion has cleared.": "-pleural effusion",
    "The effusion is gone.": "-pleural effusion",
    "Resolved pneumothorax.": "-pneumothorax",
    "Pneumothorax, resolved.": "-pneumothorax",
    "Interval resolution of pulmonary edema.": "-pulmonary edema",
    "The pneumothorax has completely resolved.": "-pneumothorax",
    "The pneumothorax has now resolved.": "-pneumothorax",
    "A nodule could not be detected.": "-nodule",
    "No nodule could be detected.": "-nodule",
    "A pneumothorax cannot be seen.": "-pneumothorax",
    "A pneumothorax cannot be identified.": "-pneumothorax",
    "I cannot see a pneumothorax.": "-pneumothorax",
    "Pneumonia could not be excluded.": "?pneumonia",
    "Pneumonia could not be ruled out.": "?pneumonia",
    "Effusion could not be evaluated.": "",
    "Pneumothorax is not appreciated.": "-pneumothorax",
    "Pneumothorax has been excluded.": "-pneumothorax",
    "Pneumothorax excluded.": "-pneumothorax",
    "Neither effusion nor pneumothorax is seen.": "-pleural effusion;-pneumothorax",
    "Effusion and pneumothorax are absent.": "-pleural effusion;-pneumothorax",
    "pneumo\u00adthorax is present.": "+pneumothorax",
    "pneumo\u200bthorax": "+pneumothorax",
    "\ufeffNo effusion": "-pleural effusion",
    "There is pneumo- thorax.": "+pneumothorax",
    "No pneumo-\nthorax.": "-pneumothorax",
    "In\ufb01ltrates are seen.": "+pulmonary infiltrates",
    "No\u00a0effusion.": "-pleural effusion",
    "no-effusion": "-pleural effusion",
    "Nodule (Section No: 52/192).": "+nodule",
    "Possibility of tuberculosis should be excluded.": "?tuberculosis",
    "Pneumonia should be clinically excluded.": "?pneumonia",
    "There is a completely resolved pneumothorax.": "-pneumothorax",
    "Essentially resolved bibasilar atelectasis.": "-basal atelectasis",
    "There is a small effusion and the pneumothorax has resolved.": "+pleural effusion;-pneumothorax",
    "The pneumothorax resolved after chest tube placement.": "-pneumothorax;+chest drain tube",
    "h/o pneumonia.": "",
    "Effusion: not evaluated optimally.": "",
}
"""Report text → statements in order: "+" present, "-" absent, "?" uncertain, then the name of the finding."""
_SIGNS = {"present": "+", "absent": "-", "uncertain": "?"}


@pytest.fixture(scope="module")
def aligner() -> RuleAligner:
    return RuleAligner()


@pytest.mark.parametrize("text", READ)
def test_presence(aligner, text):
    read = [
        _SIGNS[statement.presence] + aligner.lexicon[statement.concept].name
        for _, part in select(report_sections(text))
        for sentence in split_sentences(part)
        for statement in aligner.statements(sentence)
    ]
    assert ";".join(read) == READ[text]
