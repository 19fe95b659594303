"""`automations config render` and `config check`, as they are typed."""

from serving.graph import deploy_file
from tests.serving.commands import here
from tests.serving.graph.broken_configs import deployment, loaded


def test_renders_what_it_renders_again_alike(tmp_path):
    first = here("config", "render", "cluster")
    assert (first.returncode, first.stderr) == (0, "")
    file = tmp_path / "full.yaml"
    file.write_text(first.stdout)
    assert here("config", "render", file).stdout == first.stdout
    checked = here("config", "check", file, "--machine", "cluster")
    assert checked.returncode == 0, checked.stderr
    assert "= 10 CPUs of 42; engine-default 1 x 1 = 1 GPU of 4" in checked.stdout


def test_renders_other_engines():
    done = here("config", "render", "--engine", "default=auto", "--engine", "canary=auto=ViT-L-14/openai")
    assert done.returncode == 0, done.stderr
    rendered = deploy_file.parse(done.stdout, "stdout")
    assert deployment(rendered, "engine-canary")["user_config"]["models"]["auto"]["source"] == "ViT-L-14/openai"
    twice = here("config", "render", "--engine", "default=auto", "--engine", "default=auto")
    assert (twice.returncode, twice.stdout) == (2, "")
    assert twice.stderr.startswith("error: ")


def test_refuses_with_one_line_and_exit_code_2(tmp_path):
    cpu = loaded("cpu")
    deployment(cpu, "engine-default")["num_replicas"] = 8
    file = tmp_path / "wide.yaml"
    file.write_text(deploy_file.write(cpu))
    done = here("config", "check", file, "--machine", "cpus=2,memory_gib=8")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {file}: engine-default 8 x 0.5 + text 1 x 0.1 + worker 1 x 0.1 + gateway 1 x 0.1 = 4.3 CPUs; "
        "the machine has 2 [invalid_settings]\n"
    )


def test_warns_and_passes_on_this_machine(tmp_path):
    cpu = loaded("cpu")
    deployment(cpu, "worker")["autoscaling_config"]["max_replicas"] = 100_000
    file = tmp_path / "many.yaml"
    file.write_text(deploy_file.write(cpu))
    done = here("config", "check", file)
    assert (done.returncode, done.stderr) == (0, "")
    warning, fits = done.stdout.splitlines()
    assert warning.startswith("warning: with all replicas that autoscaling may ask for: ")
    assert fits.startswith(f"{file} fits this machine: engine-default 1 x 0.5 + text 1 x 0.1 + ")
