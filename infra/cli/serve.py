"""`igob serve`."""

from infra.cli.console import DataDir, Port, Workers
from infra.cli.demo import complete_demo
from infra.cli.messages import plain_errors, say, settings_of


def serve(
    *, host: str = "127.0.0.1", port: Port = 8000, workers: Workers = 1, data_dir: DataDir = None, demo: bool = False
) -> None:
    """Serve the API. Without IGOB_DATABASE_URL, use an embedded database, which starts and stops with it.

    Parameters
    ----------
    host:
        Address to listen on: 127.0.0.1, ::1 or localhost, unless IGOB_OIDC_ISSUER names an identity provider.
    port:
        Port to listen on; 0 for any free one.
    workers:
        Processes that answer requests, each with a committer of its own on the one log.
    demo:
        Fill an empty log with the demo city first, or complete an interrupted one.
    """
    from infra.running.serve import serve as run

    with plain_errors():
        settings = settings_of(data_dir)
        if settings.trusted_documents:
            from api.app import trusted_of

            trusted_of(settings)  # an error is printed here once, not by each worker
        if settings.traces:
            from infra.running.tracing import open_spans

            spans = open_spans(settings)  # likewise
            if spans:
                spans.close()
        run(
            settings,
            host=host,
            port=port,
            workers=workers,
            say=say,
            prepare=lambda: complete_demo(settings) if demo else None,
        )
