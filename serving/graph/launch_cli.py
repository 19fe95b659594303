"""`automations graph`: the graph on this machine, and what is done to one that runs."""

from typing import Annotated

import typer

graph = typer.Typer(help="The graph: what needs models, on Ray Serve.", invoke_without_command=True)

Config = Annotated[
    str,
    typer.Option(
        "--config",
        help="A Serve YAML; `cpu`, `single-gpu` and `cluster` are those of the package. See `config check`.",
    ),
]
Dashboard = Annotated[
    bool,
    typer.Option("--dashboard", help="Run Ray's dashboard, too, which `serve deploy` speaks to: ten more processes."),
]


@graph.callback()
def run(
    context: typer.Context,
    config: Config = "cpu",
    dashboard: Dashboard = False,
    metrics_port: Annotated[
        int | None, typer.Option("--metrics-port", help="Where Prometheus finds Ray's and the graph's metrics.")
    ] = None,
) -> None:
    """Run Ray and the graph on this machine, beside a database that is migrated. It is part of `serve`."""
    if context.invoked_subcommand is not None:
        return
    from pathlib import Path

    from serving.graph.cluster import cluster
    from serving.graph.deploy_file import path_of
    from serving.graph.launch import keep_up
    from serving.places import server_secret
    from serving.settings import load

    settings = load().settings
    folder = Path(settings.server.data_dir).resolve()
    where = cluster(folder, server_secret(settings))
    raise typer.Exit(keep_up(path_of(config), where, dashboard=dashboard, metrics_port=metrics_port))


@graph.command()
def deploy(config: Annotated[str, typer.Argument(help="A Serve YAML, as `--config` of `serve`.")]) -> None:
    """Have the graph that runs on this machine become what a YAML says; models are swapped while it serves."""
    from pathlib import Path

    from serving.graph.cluster import cluster
    from serving.graph.deploy_file import path_of
    from serving.graph.redeploying import redeploy
    from serving.places import server_secret
    from serving.settings import load

    settings = load().settings
    where = cluster(Path(settings.server.data_dir).resolve(), server_secret(settings))
    redeploy(path_of(config).resolve(), where)
