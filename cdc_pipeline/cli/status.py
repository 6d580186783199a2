"""`status` and `lag`: where every lane stands."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from cdc_pipeline.capture import ShardLog
from cdc_pipeline.capture.loss import begins_without, left_the_archive, possible_loss, removed_unread
from cdc_pipeline.capture.space import Limits, Pressure
from cdc_pipeline.capture.space import look as look_at_space
from cdc_pipeline.change import START, Position, parse_segment_name
from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output
from cdc_pipeline.cli.run import DestinationOption, ShardOption
from cdc_pipeline.errors import CdcError
from cdc_pipeline.load import Sink
from cdc_pipeline.offsets import Lane
from cdc_pipeline.project import Project


@dataclass(frozen=True)
class LaneStatus:
    """A lane now: its offset, the end of the durable log, what lies between, and what it never read."""

    destination: str
    shard: str
    offset: str | None
    head: str | None
    backlog_bytes: int
    events_processed: int
    dead_letters: int
    last_committed_at: str | None
    lag_seconds: float | None
    never_read: tuple[str, ...]
    problems: tuple[str, ...]
    possible_loss: tuple[str, ...]
    cdc_space: str
    cdc_space_used_bytes: int
    cdc_space_total_bytes: int
    cdc_space_growth_bytes_per_s: float | None
    cdc_space_forecast_seconds: float | None

    @property
    def needs_attention(self) -> bool:
        """Whether somebody should look."""
        pressed = self.cdc_space != Pressure.OK
        return bool(self.never_read or self.problems or self.dead_letters or self.possible_loss or pressed)


def lane_status(lane: Lane, sink: Sink, source: ShardLog, limits: Limits) -> LaneStatus:
    """Asks the destination and looks at the directory; writes nothing."""
    state = sink.state(lane)
    position = state.position if state is not None else START
    segments = source.segments()
    read = sink.segments(lane)
    held = parse_segment_name(position.segment)
    never_read = tuple(
        one.path.name
        for one in segments
        if held is not None and one.name.id < held.id and one.has_changes and one.path.name not in read
    )
    backlog = source.backlog(position)
    committed = state.last_committed_at if state is not None else None
    lag = None if committed is None else (dt.datetime.now(dt.UTC) - committed).total_seconds() if backlog else 0.0
    head = source.head()
    space = look_at_space(source.directory, limits)
    return LaneStatus(
        destination=lane.destination,
        shard=lane.shard,
        offset=str(position) if position != START else None,
        head=str(head) if head is not None else None,
        backlog_bytes=backlog,
        events_processed=state.events_processed if state is not None else 0,
        dead_letters=sum(count.letters for count in sink.dead_letter_counts()),
        last_committed_at=committed.isoformat() if committed is not None else None,
        lag_seconds=lag,
        never_read=never_read,
        problems=(*_gap(source, position), *(str(one.problem) for one in segments if one.problem is not None)),
        possible_loss=(*_begins(source, position), *possible_loss(source, read, limits)),
        cdc_space=str(space.pressure),
        cdc_space_used_bytes=space.used,
        cdc_space_total_bytes=space.total,
        cdc_space_growth_bytes_per_s=space.growth,
        cdc_space_forecast_seconds=space.seconds_left,
    )


def _gap(source: ShardLog, position: Position) -> list[str]:
    """Why a lane cannot go on: the log no longer reaches back to where it stands."""
    gone = removed_unread(source, position) if position != START else []
    return [f"expected the log from {position} on, found that {left_the_archive(gone)}"] if gone else []


def _begins(source: ShardLog, position: Position) -> list[str]:
    """What a lane that never loaded will not find."""
    without = begins_without(source) if position == START else None
    return [without] if without is not None else []


@app.command()
def status(
    destination: DestinationOption = None,
    shard: ShardOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Shows per lane the offset, the head of the durable log, the backlog, and what needs attention.

    Example: `cdc-pipeline status --json`
    """
    out = output(as_json)
    attention = False
    rows = []
    spaces: set[str] = set()
    with Project.load(config_path(config)) as project:
        for lane in project.lanes(destination, shard):
            limits = project.limits(lane.shard)
            try:
                one = lane_status(lane, project.sink(lane.destination), project.source(lane.shard), limits)
            except CdcError as error:  # the other lanes are not its business
                attention = True
                out.record({"lane": str(lane), "problems": [str(error)]})
                out.message(f"lane {lane}: {error}")
                continue
            attention |= one.needs_attention
            out.record({"lane": str(lane), **vars(one)})
            lag = "" if one.lag_seconds is None else f"{one.lag_seconds:.1f}"
            rows.append(
                (
                    str(lane),
                    one.offset or "",
                    one.head or "",
                    one.backlog_bytes,
                    one.events_processed,
                    lag,
                    one.dead_letters,
                    _filled(one),
                )
            )
            for name in one.never_read:
                out.message(
                    f"lane {lane}: segment {name} lies below the offset and was never read: load it by backfill"
                )
            for problem in (*one.problems, *one.possible_loss):
                out.message(f"lane {lane}: {problem}")
            if lane.shard not in spaces and one.cdc_space != Pressure.OK:
                out.message(f"shard {lane.shard}: CDC space is {one.cdc_space}: see check")
            spaces.add(lane.shard)
    out.table("", ["lane", "offset", "head", "backlog bytes", "changes", "lag s", "dead letters", "CDC space"], rows)
    return int(attention)


def _filled(one: LaneStatus) -> str:
    """`12 % of 4096 MiB, full in 3.4 h`."""
    text = (
        f"{100 * one.cdc_space_used_bytes / one.cdc_space_total_bytes:.0f} % of {one.cdc_space_total_bytes >> 20} MiB"
    )
    if one.cdc_space_forecast_seconds is None:
        return text
    return f"{text}, full in {one.cdc_space_forecast_seconds / 3600:.1f} h"


app.command(name="lag", help="The same as `status`.")(status)
