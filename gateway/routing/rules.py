"""Which rule an incident falls under. Pure: configuration and question in, decision out."""

from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gateway.config import RoutingConfig, RuleConfig
from gateway.incidents.model import Flag
from gateway.routing.model import Decision, Group, Question, Stage, Target

# The key whose press must reach somebody even where no rule was written for it.
SOS_KEY: Final = "sos"
NO_FLOW: Final = "none"
NOTHING: Final = Decision(rule="", flow=NO_FLOW, chain=(), last_resort=None, emergency=False)
UNROUTED_SOS: Final = Decision(
    rule="", flow="emergency", chain=(), last_resort=None, emergency=True
)


class Router:
    """Answers with the first rule that matches.

    Raises zoneinfo.ZoneInfoNotFoundError at construction when the timezone is not installed.
    """

    def __init__(self, config: RoutingConfig) -> None:
        self._zone = ZoneInfo(config.timezone)
        self._targets = targets_of(config)
        self._rules = tuple((rule, self._decision(rule)) for rule in config.rules)

    def decide(self, question: Question) -> Decision:
        """Return where an incident goes; `question.at` is Unix seconds.

        Without a rule, a press of the SOS key still gets the flow `emergency`, with nobody to
        ring: the flow then alarms a person. An exercise without a rule of its own gets nothing.
        """
        local = datetime.fromtimestamp(question.at, tz=self._zone)
        for rule, decision in self._rules:
            if matches(rule, question, local):
                return decision
        if question.event == "press" and question.key == SOS_KEY and not is_training(question):
            return UNROUTED_SOS
        return NOTHING

    def _decision(self, rule: RuleConfig) -> Decision:
        if rule.flow == NO_FLOW:
            return Decision(
                rule=rule.name, flow=NO_FLOW, chain=(), last_resort=None, emergency=False
            )
        chain = tuple(
            Stage(
                targets=tuple(self._targets[name] for name in stage.targets),
                together=stage.mode == "together",
            )
            for stage in rule.chain
        )
        return Decision(
            rule=rule.name,
            flow=rule.flow,
            chain=chain,
            last_resort=self._targets[rule.last_resort] if rule.last_resort else None,
            emergency=rule.priority == "emergency",
        )


def targets_of(config: RoutingConfig) -> dict[str, Target]:
    """Return every target and every group of the configuration by its name."""
    found = {
        name: Target(name=name, uri=t.uri, label=t.label, ring_s=t.ring_s)
        for name, t in config.targets.items()
    }

    def group(name: str) -> Target:
        own = config.groups[name]
        if own.overflow_to and own.overflow_to not in found:
            group(own.overflow_to)  # ends: the configuration refuses circles
        overflow = found[own.overflow_to] if own.overflow_to else None
        together = own.strategy == "together"
        found[name] = Target(
            name=name,
            uri="",
            label=own.label,
            ring_s=own.overflow_after_s,
            group=Group(name=name, together=together, overflow=overflow),
        )
        return found[name]

    for name in config.groups:
        group(name)
    return found


def is_training(question: Question) -> bool:
    """Tell whether the question is about an exercise."""
    return Flag.TRAINING in question.flags


def matches(rule: RuleConfig, question: Question, local: datetime) -> bool:
    """Tell whether `rule` is for `question`, asked at the local time `local`."""
    return (
        rule.training == is_training(question)
        and (not rule.events or question.event in rule.events)
        and (not rule.keys or question.key in rule.keys)
        and (not rule.kinds or question.kind in rule.kinds)
        and (not rule.sites or question.site in rule.sites)
        and in_hours(rule, local)
    )


def in_hours(rule: RuleConfig, local: datetime) -> bool:
    """Tell whether `local` lies in the rule's weekdays and hours.

    Hours that pass midnight belong to the day they begin on: Friday 22:00-06:00 covers Saturday
    03:00. Hours that begin when they end are the whole day.
    """
    day = local
    if rule.begins is not None and rule.ends is not None:
        now = local.time()
        if not _between(rule.begins, rule.ends, now):
            return False
        if rule.begins > rule.ends and now < rule.ends:
            day = local - timedelta(days=1)
    return not rule.weekdays or day.weekday() in rule.weekdays


def _between(begins: time, ends: time, now: time) -> bool:
    if begins == ends:
        return True
    if begins < ends:
        return begins <= now < ends
    return now >= begins or now < ends
