"""Where Singer messages become calls of ours, and the parts are put together: `.github/CONTRIBUTING.md` has a map."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import Target
from singer_sdk.exceptions import (
    ConfigValidationError,
    FatalSyncError,
    RecordsWithoutSchemaException,
)
from singer_sdk.helpers.capabilities import PluginCapabilities, TargetCapabilities
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_klar.api.client import Client, Connection
from target_klar.batch_files import records
from target_klar.contract.streams import CONTRACTS, QUALITY_RULES
from target_klar.delivery.checkpoints import Checkpoints
from target_klar.delivery.dispatcher import Dispatcher
from target_klar.delivery.ledger import Ledger
from target_klar.delivery.rejects import Rejects
from target_klar.delivery.stream import Stream
from target_klar.delivery.workers import Workers
from target_klar.lookahead import Lookahead
from target_klar.reader import LINE, KlarReader, record_message, schema_message
from target_klar.records.conform import Conformer
from target_klar.records.formatting import describe, shorten, shorten_both
from target_klar.records.json_codec import members
from target_klar.records.quality import QualityReport
from target_klar.runtime.pipes import Wakeup
from target_klar.settings.environment import settings_in, variables
from target_klar.settings.patterns import overridden_patterns
from target_klar.settings.settings import SETTINGS
from target_klar.settings.stream_maps import unmatched_map
from target_klar.settings.validation import checked
from target_klar.sinks import KlarSink
from target_klar.source_streams import ONLY_MARKS_CANCEL, VERSION_IGNORED, MappedRoute, PlainRoute, SourceStream
from target_klar.stream_maps.columns import columns_read
from target_klar.stream_maps.in_effect import names_of, registered
from target_klar.stream_maps.mapping import columns_removed
from target_klar.suggestions import unknown_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from singer_sdk.helpers.capabilities import CapabilitiesEnum

    from target_klar.contract.streams import Contract


class TargetKlar(Target):
    """Singer target for Klar: loads refunds, costs and orders into Klar's import API."""

    name = "target-klar"
    config_jsonschema = SETTINGS
    default_sink_class = KlarSink
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        PluginCapabilities.ABOUT,
        PluginCapabilities.BATCH,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.STRUCTURED_LOGGING,
        TargetCapabilities.HARD_DELETE,
        TargetCapabilities.VALIDATE_RECORDS,
    ]
    dispatcher_class: ClassVar[type[Dispatcher]] = Dispatcher
    stream_class: ClassVar[type[Stream]] = Stream
    """A preview replaces both: it delivers nothing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        config = self.config
        wakeup = Wakeup()
        self._stop = threading.Event()
        ledger, workers = Ledger(), Workers(self.connect, wakeup, self._stop, self.logger.warning)
        rejects = Rejects(config.get("rejects_path"), config["rejects_limit"], dry_run=config["validate_only"])
        interval, status_timeout = config["checkpoint_interval_seconds"], config["status_timeout_seconds"]
        checkpoints = Checkpoints(ledger, rejects, workers, interval, status_timeout)
        parallel = config["max_parallel_requests"]
        self.dispatcher = self.dispatcher_class(ledger, rejects, workers, checkpoints, parallel)
        self.max_parallelism = 1  # the SDK's own threads; what runs in parallel here are requests
        self.message_reader: KlarReader = KlarReader(wakeup, self._poll)
        self.sinks: dict[str, KlarSink] = {}
        self.source_streams: dict[str, SourceStream] = {}
        """The tap's own streams, by name."""
        self._lookahead = Lookahead(config["batch_wait_limit_seconds"], ledger.add_state)
        self._ignored_versions: set[str] = set()

    def connect(self, tell: Callable[[str], None], retry_timeout: float | None = None) -> Client:
        """Return a connection to Klar for one thread; `tell` is given what it does meanwhile."""
        config = self.config
        connection = Connection(
            url=config["api_url"].rstrip("/"),
            token=config["api_token"],
            versions={stream: config[contract.version_setting] for stream, contract in CONTRACTS.items()},
            request_timeout=config["request_timeout_seconds"],
            retry_timeout=config["retry_timeout_seconds"] if retry_timeout is None else retry_timeout,
            user_agent=f"target-klar/{self.plugin_version}",
        )
        return Client(connection, self._stop, tell)

    # Singer messages. A RECORD in the usual form does not come here: see `_set_record_handlers`.

    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        """Add a record whose message has unusual members to its stream."""
        # This leaves out what the SDK does per record: a batch context with an id, the tap's own schema and key (Klar's
        # contract counts, and conforming parses times), removing `_sdc_` fields (conforming needs `_sdc_deleted_at`),
        # and a clock for its counter.
        self._assert_line_requires(message_dict, {"stream", "record"})
        line = message_dict[LINE]
        source = self._source_of(message_dict["stream"])
        if "klar" in message_dict:  # a line of the rejects file, sent again
            source.require_route(line)
        self._lookahead.pass_record(source, members(line)["record"], line)

    def _source_of(self, stream: Any) -> SourceStream:
        if not isinstance(stream, str) or stream not in self.source_streams:
            raise RecordsWithoutSchemaException(
                f"a record of {_named(stream)} before the SCHEMA of its stream, which the tap has to write first"
            )
        return self.source_streams[stream]

    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        """Make the sinks that the stream's maps lead to; a changed schema makes no new one."""
        self._assert_line_requires(message_dict, {"stream", "schema"})
        stream, schema = message_dict["stream"], message_dict["schema"]
        properties = schema.get("properties") if isinstance(schema, dict) else None
        if not isinstance(stream, str) or not isinstance(properties, dict):
            raise InvalidInputLine(f"a SCHEMA of {_named(stream)} without `properties`, which every SCHEMA has to have")
        line = message_dict[LINE]
        if stream in self.source_streams and self.source_streams[stream].schema_line == line:
            return  # as from taps that write it before each STATE
        other = unmatched_map(self.mapper.stream_maps_dict, self.mapper.stream_maps, stream)
        if other is not None:
            self.logger.warning(
                "%s has no stream map. If the map of %s is meant for it, rename the map.",
                *shorten_both(stream, other),
            )
        overridden = overridden_patterns(self.mapper.stream_maps_dict, stream)
        if overridden and stream not in self.source_streams:
            self.logger.warning("%s", overridden)
        keys = names_of(message_dict.get("key_properties"))
        maps = registered(self.mapper, stream, schema, keys)
        read = columns_read(each.definition for each in maps)
        if self.message_reader.stream is not None:  # the rejects file's rows may lack columns that others have
            line = schema_message(stream, properties | dict.fromkeys(sorted(read)))[LINE]
        self.dispatcher.rejects.schema(stream, line)
        for each in maps:
            if each.stream_map.stream_alias not in CONTRACTS:
                self._reject_unknown(stream, each.stream_map.stream_alias, properties)
        removed = columns_removed(maps[0].definition) if len(maps) == 1 else None
        source = self.source_streams.setdefault(stream, SourceStream(stream))
        routes: list[PlainRoute | MappedRoute] = []
        for each in maps:
            if each.stream_map.stream_alias in CONTRACTS:
                klar_stream = self.get_sink(each.stream_map.stream_alias).stream
                klar_stream.unaggregated.note_source(stream, has_key=bool(keys))
                routes.append(
                    MappedRoute(source, keys, klar_stream, each, read)
                    if removed is None
                    else PlainRoute(source, keys, klar_stream, removed)
                )
        source.update(line, schema, routes)
        self._lookahead.watch(source)
        self._set_record_handlers()

    def _reject_unknown(self, stream: str, alias: str, columns: Collection[str]) -> None:
        """Stop at a stream of the tap's that leads to none of Klar's.

        Raises:
            FatalSyncError: Always; the message shows the map that would rename it.
        """
        raise FatalSyncError(unknown_stream(stream, alias, columns))

    def _set_record_handlers(self) -> None:
        """Have the reader give records to the lookahead, or to the routes themselves where it lets them pass.

        Which it does is asked again at each poll: it may have passed on all that it held.
        """
        for name, source in self.source_streams.items():
            handler = source.routes[0].add if len(source.routes) == 1 else source.add
            if not self._lookahead.lets_pass(source):
                handler = partial(self._lookahead.pass_record, source)
            self.message_reader.record_handlers[name] = handler

    def _process_state_message(self, message_dict: dict[str, Any]) -> None:
        """Give a STATE, as the tap wrote it, to the ledger."""
        self._assert_line_requires(message_dict, {"value"})
        if not self.config["validate_only"]:
            self._lookahead.pass_state(members(message_dict[LINE])["value"])

    def _process_batch_message(self, message_dict: dict[str, Any]) -> None:
        """Add the records of the files that a BATCH message names, each as if it had come in its own message."""
        self._assert_line_requires(message_dict, {"stream", "encoding", "manifest"})
        stream = message_dict["stream"]
        source = self._source_of(stream)
        for record in records(message_dict, self.message_reader.lines):
            self._lookahead.pass_record(source, record, record_message(stream, record))

    def _process_activate_version_message(self, message_dict: dict[str, Any]) -> None:
        """Ignore it, and log that once per stream: Klar has upserts, not table versions."""
        stream = _named(message_dict.get("stream"))
        if stream not in self._ignored_versions:
            self._ignored_versions.add(stream)
            source = self.source_streams.get(str(message_dict.get("stream")))
            if self.config["hard_delete"] and source is not None and source.lacks_deletion_mark:
                self.logger.warning("%s: %s", stream, ONLY_MARKS_CANCEL)
            else:
                self.logger.info("%s: %s", stream, VERSION_IGNORED)

    def process_endofpipe(self) -> None:
        """Deliver what the batches still hold, and return once the last STATE is written."""
        self._lookahead.finish()
        self.drain_all()  # not yet `is_endofpipe`: it is done again after a rejected record
        self.dispatcher.finish()

    # What the SDK asks for

    def get_sink(self, stream_name: str, **_: Any) -> KlarSink:
        """Return the one sink of a stream of Klar's, for all source streams and schemas."""
        if stream_name not in self.sinks:
            sink = KlarSink(self, self._stream(CONTRACTS[stream_name]))
            self._sinks_active[stream_name] = self.sinks[stream_name] = sink
        return self.sinks[stream_name]

    def _stream(self, contract: Contract) -> Stream:
        config = self.config
        ignored = config.get("ignore_quality_rules", ())
        conformer = Conformer(
            contract,
            ignored_rules=ignored,
            extra_fields=config.get("extra_fields", ()),
            validate=config["validate_records"],
            hard_delete=config["hard_delete"],
            version=config[contract.version_setting],
        )
        return self.stream_class(
            contract,
            conformer,
            QualityReport(contract, ignored if config["validate_records"] else QUALITY_RULES),
            self.dispatcher,
            max_records=config["batch_size_rows"],
            dry_run=config["validate_only"],
        )

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add none of the SDK's settings: those that mean something here are among ours."""

    @property
    def _env_var_config(self) -> dict[str, Any]:
        """Read the environment in a way of our own: the SDK's takes any odd word for false, and no empty variable."""
        return settings_in(variables())

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Check the settings in words of our own: the SDK's show the value, a token too."""
        self._config, errors, foreign = checked(self._config)
        if errors and raise_errors:
            raise ConfigValidationError("The configuration is not usable.", errors=errors)
        if foreign:
            self.logger.warning("Unknown settings are ignored: %s. Check the spelling.", ", ".join(foreign))
        return errors

    def _setup_signal_handlers(self) -> None:
        """Leave signals to `shutdown`: the SDK's handler would drain the sinks wherever the run just is."""

    def _assert_line_requires(self, message_dict: dict[str, Any], requires: set[str]) -> None:
        """Check a message without quoting it.

        Raises:
            InvalidInputLine: Something is missing.
        """
        missing = sorted(requires - message_dict.keys())
        if missing:
            kind, of = message_dict["type"], f" of {_named(message_dict['stream'])}" if "stream" in message_dict else ""
            raise InvalidInputLine(f"a {kind}{of} without `{missing[0]}`, which every {kind} has to have")

    def _poll(self) -> float:
        """Act on results, flush batches that waited long enough, and return for how many seconds nothing is due."""
        now = time.monotonic()
        wait_limit = self.config["batch_wait_limit_seconds"]
        held = self._lookahead.poll(now)
        self._set_record_handlers()
        return min([held, self.dispatcher.poll(), *(sink.stream.poll(now, wait_limit) for sink in self.sinks.values())])


def _named(stream: Any) -> str:
    return shorten(stream) if isinstance(stream, str) else describe(stream)
