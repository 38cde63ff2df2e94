"""The words of the story, Chinese and English. What is not here is shown as the gateway says it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

Words = tuple[str, str]

# Acknowledgements at the terminal (protocols.mqtt_payload.v1.Ack).
ACKS: Final[Mapping[str, Words]] = MappingProxyType(
    {
        "committed": ("平台已受理", "committed"),
        "ringing": ("正在呼叫坐席", "ringing"),
        "answered": ("坐席已接听", "an agent has your call"),
        "waiting": ("坐席繁忙，继续呼叫", "still waiting, we keep calling"),
        "closed": ("已结案", "closed"),
        "refused": ("平台拒绝", "refused"),
    }
)

# Events of the simulated phones (sim.sip_ua); those not listed are left out of the story.
PHONES: Final[Mapping[str, Words]] = MappingProxyType(
    {
        "invite": ("来电 INVITE", "INVITE arrived"),
        "answered": ("已摘机", "picked up"),
        "dtmf": ("收到按键音", "digit heard"),
        "gone": ("已挂断", "hung up"),
    }
)

# Lines of an incident's timeline.
TIMELINE: Final[Mapping[str, Words]] = MappingProxyType(
    {
        "press_received": ("网关收到按键", "press received"),
        "press_again": ("网关再次收到按键，并入同一事件", "press joined the open case"),
        "press_cancelled": ("按键已取消", "press taken back"),
        "alarm_received": ("网关收到报警", "alarm received"),
        "alarm_again": ("再次收到报警", "alarm joined the open case"),
        "routed": ("已派单", "routed"),
        "call_started": ("开始呼叫", "call started"),
        "call_resumed": ("重启后接管呼叫", "call taken over after a restart"),
        "target_dialled": ("呼叫坐席", "dialling the agent"),
        "target_ringing": ("坐席振铃", "the agent's phone rings"),
        "target_answered": ("坐席接听", "the agent answered"),
        "target_failed": ("坐席未接通", "the agent was not reached"),
        "agent_left": ("坐席挂断", "the agent hung up"),
        "late_answer": ("已由他人接听", "answered elsewhere"),
        "terminal_dialled": ("呼叫终端", "dialling the terminal"),
        "caller_arrived": ("老人来电已到", "the terminal's own call is here"),
        "caller_not_arrived": ("老人来电未到", "the terminal's own call did not come"),
        "call_back_due": ("来电已放弃，需回拨", "the caller left; call back"),
        "agent_offered": ("已分配坐席", "offered to an agent"),
        "terminal_ringing": ("终端振铃", "the terminal rings"),
        "terminal_answered": ("终端接听", "the terminal answered"),
        "terminal_failed": ("终端未接通", "the terminal was not reached"),
        "terminal_dropped": ("终端断开", "the terminal dropped"),
        "terminal_given_up": ("终端多次未接通", "the terminal was given up"),
        "bridged": ("双方通话", "they hear each other"),
        "recording_started": ("开始录音", "recording"),
        "recording_finished": ("录音完成", "recording finished"),
        "chain_exhausted": ("全部坐席无人接听", "nobody in the chain answered"),
        "alarm_raised": ("已通知值班人员", "a person was alarmed"),
        "no_capacity": ("线路已满，等待空闲", "no line free, waiting"),
        "worker_lost": ("话务进程中断，重新呼叫", "a worker died, ringing again"),
        "pressed_again": ("老人再次按键", "the person pressed again"),
        "call_ended": ("呼叫结束", "call ended"),
        "closed": ("已结案", "closed"),
    }
)
