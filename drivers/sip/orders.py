"""From commands on the wire to the switchboard."""

from drivers.sip import wire
from drivers.sip.sending import CommandRefused
from drivers.sip.switchboard import Switchboard
from drivers.sip.wire import ErrorKind


def execute(board: Switchboard, command: wire.Command) -> None:
    """Carry out a command that has no reply but Done; raises CommandRefused."""
    match command:
        case wire.Dial():
            board.dial(command.call, command.request)
        case wire.Progress():
            board.progress(command.leg)
        case wire.Answer():
            board.answer(command.leg)
        case wire.Reject():
            board.reject(command.leg, command.outcome, command.retry_after_s)
        case wire.HangUp():
            board.hang_up(command.leg, command.reason, command.cause)
        case wire.Hold():
            board.hold(command.leg)
        case wire.Unhold():
            board.unhold(command.leg)
        case wire.SendDigits():
            board.send_digits(command.leg, command.digits)
        case _:
            _execute_sound(board, command)


def _execute_sound(board: Switchboard, command: wire.Command) -> None:
    match command:
        case wire.Play():
            board.play(command.leg, command.prompt, command.path, loop=command.loop)
        case wire.StopPlaying():
            board.stop_playing(command.leg)
        case wire.Bridge():
            board.bridge(command.a, command.b)
        case wire.Unbridge():
            board.unbridge(command.a, command.b)
        case wire.Connect():
            board.connect(command.source, command.sink)
        case wire.Disconnect():
            board.disconnect(command.source, command.sink)
        case wire.Record():
            board.record(command.call, command.directory, command.segment_s)
        case wire.PauseRecording():
            board.pause_recording(command.call)
        case wire.ResumeRecording():
            board.resume_recording(command.call)
        case _:
            raise CommandRefused(ErrorKind.REFUSED, f"{type(command).__name__} here")
