from pathlib import Path

from gateway.config import Settings
from gateway.flows.plan import plan_of
from gateway.flows.policies.emergency_call import Callee, Rung
from gateway.routing.model import Decision, Stage
from tests.gateway.flows.conftest import ANNA, BERT


def test_the_last_resort_is_the_last_stage_and_rings_longer() -> None:
    decision = Decision(
        rule="r",
        flow="emergency",
        chain=(Stage(targets=(ANNA, BERT), together=True),),
        last_resort=ANNA,
        emergency=True,
    )
    settings = Settings.model_validate(
        {"data_dir": Path("d"), "emergency": {"last_resort_ring_s": 90}}
    )
    plan = plan_of(settings, decision, voice=True)
    assert plan.stages == (
        Rung((Callee("anna", 20.0), Callee("bert", 20.0)), together=True),
        Rung((Callee("anna", 90.0),)),
    )
    assert plan.voice
    assert plan.room_legs == settings.telephony.legs_per_worker


def test_no_target_is_no_stage() -> None:
    decision = Decision(rule="", flow="emergency", chain=(), last_resort=None, emergency=True)
    assert plan_of(Settings(), decision, voice=False).stages == ()
