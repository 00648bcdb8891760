//! The texts at the end of the help of the program and of its commands.

use clap::ValueEnum;
use clap::builder::{PossibleValue, StyledStr};

use super::Listed;

/// The end of the help of the whole program.
pub(super) const OF_PROGRAM: &str = "\
Examples:
  foresee train configs/pendulum-vagram.toml
  foresee train configs/pendulum-vagram.toml model.loss.kind=mle seed=3
  foresee check configs/mujoco/hopper.toml rollout.horizon=5
  foresee check-env gym:Ant-v5
  foresee resume DIR training.env_steps=5000
  foresee eval DIR --episodes 100
  foresee report runs/Pendulum-v1 --out report
  foresee sweep configs/pendulum-vagram.toml model.loss.kind=mle,vagram seed=0..4

A config file needs only the keys that differ from their defaults. An argument KEY=VALUE overrides
it; VALUE is TOML, and a bare word is a string. Quote values with brackets, quotes or spaces:
\"rollout.horizon=[1, 5, 0, 10000]\", 'env.gym.kwargs={mode = \"hard\"}'.

The folder DIR of a run may be moved and renamed while no process trains in it.

Exit codes:
  0    success
  1    a run failed, or an environment breaks a rule
  2    the input is refused: arguments, config, environment, run folder or checkpoint
  130  a signal ended the run, which is saved (after a second signal: up to the newest checkpoint only)

Environment variables:
  VIRTUAL_ENV  the virtual environment whose Python, Gymnasium, dm_control and MuJoCo are used
  MUJOCO_LIB   MuJoCo's library file, instead of the one of VIRTUAL_ENV or of the system";

/// The end of the help of `train`.
pub(super) const ON_TRAIN: &str = "\
Examples:
  foresee train configs/pendulum-vagram.toml
  foresee train configs/pendulum-vagram.toml model.loss.kind=mle seed=3
  foresee train configs/pendulum-sac.toml env.id=gym:my_module:MyEnv-v0 --run-dir runs/mine

Ctrl-C, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 save the run and end it with exit code 130, and
`foresee resume DIR` continues it. A second signal ends the program at once. A signal that is ignored
when the program starts stays ignored: a run that is started with `nohup` outlives its terminal. The
folder DIR may be moved and renamed while no process trains in it.

In a script that is started again and again until the run is complete, such as a job of a scheduler:
  foresee train CONFIG --run-dir DIR --resume-if-exists
The first call starts the run. Each later call resumes it under CONFIG and its overrides: every
difference from the config of the run counts as an override of a resume, and is refused where
`foresee resume` refuses it. A run that ended before its first checkpoint starts again. When the run is
complete, the call says so with exit code 0.";

/// The end of the help of `resume`.
pub(super) const ON_RESUME: &str = "\
Examples:
  foresee resume runs/mine
  foresee resume runs/mine training.env_steps=5000    extend the run

A run keeps its seed, task, number of environments, action repeat, algorithm and networks. Changed
keys are written to config.resume-1.toml, config.resume-2.toml and so on, and later resumes keep them.
If the newest of these files was edited since the run was last started, the edits count as overrides.
The folder may have been moved.";

/// The end of the help of `eval`.
pub(super) const ON_EVAL: &str = "\
Examples:
  foresee eval runs/mine
  foresee eval runs/mine --episodes 100

Nothing is written. The folder may have been moved.";

/// The end of the help of `report`.
pub(super) const ON_REPORT: &str = "\
Examples:
  foresee report runs/Pendulum-v1
  foresee report runs/Pendulum-v1 --out report
  foresee report runs/Hopper-v5 MBPO=theirs/results.csv --threshold 3000

RUN is a run folder, a file with the columns exp_name,env_name,seed,metric,env_step,value, a results.csv of
mbrl-lib, or a folder that contains some of these. Runs form a group if their configs are equal, apart from
the seed and keys that do not change the numbers up to a step, such as training.env_steps; all runs of
NAME=RUN form the group NAME. --out writes report.html, report.json and report.csv.";

/// The end of the help of `check`.
pub(super) const ON_CHECK: &str = "\
Examples:
  foresee check configs/pendulum-vagram.toml
  foresee check configs/pendulum-vagram.toml --explain
  foresee check configs/pendulum-vagram.toml model.loss.kind=mle > mine.toml

The output is itself a config that gives the same run, also with --explain.";

/// The end of the help of `check-env`.
pub(super) const ON_CHECK_ENV: &str = "\
Examples:
  foresee check-env Pendulum-v1
  foresee check-env gym:Ant-v5 env.first_entries=27
  foresee check-env gym:shimmy:dm_control/cartpole-swingup-v0
  foresee check-env dmc:walker-run env.gym.python=dmc/bin/python

Environments in Python run under `env.gym.python`, else under the Python of VIRTUAL_ENV, else under
`python3`. Native MuJoCo tasks load the library file that MUJOCO_LIB names. The exit code is 1 if a rule is broken.";

/// The end of the help of `study`.
pub(super) const ON_STUDY: &str = "\
Examples:
  foresee study list
  foresee study run simulation-lemma --tier smoke
  foresee study run vaml-walk groups=4 gamma=0.9 --out studies/coarse
  foresee study run --all --tier smoke

A study tests a claim about learned models on problems whose answers are known exactly. It writes
verdict.json and figure.svg into the folder DIR/NAME.";

/// The end of the help of `study run`.
pub(super) const ON_STUDY_RUN: &str = "\
Examples:
  foresee study run simulation-lemma --tier smoke
  foresee study run vaml-walk groups=4 gamma=0.9 --out studies/coarse
  foresee study run --all --tier smoke

The tier `report` keeps finished seeds in DIR/NAME/seeds, and a further run adds the missing ones.
The exit code does not depend on the verdict.";

/// The end of the help of `sweep`.
pub(super) const ON_SWEEP: &str = "\
Examples:
  foresee sweep configs/sweeps/pendulum-losses.toml --jobs 2
  foresee sweep configs/pendulum-vagram.toml model.loss.kind=mle,vagram seed=0..9 --name losses
  foresee sweep configs/pendulum-vagram.toml \"agent.hidden=[64, 64]\" seed=0,3,7 --dry-run

KEY=a,b and KEY=0..9 are choices (0..9 are ten values: both ends belong to it), and each combination is a
run. A value with brackets or quotes is one value: a list, or 'KEY=\"a,b\"'. Several lists as choices, overrides
that go together, and several configs need a sweep file:

  name = \"losses\"
  config = \"../pendulum-vagram.toml\"      # or a list of configs; relative to this file
  seeds = \"0..2\"                          # or [0, 1, 2]
  set = [\"training.env_steps=2000\"]       # overrides of every run
  [vary]                                  # every combination of the values
  model.loss.kind = [\"mle\", \"vagram\"]
  [[case]]                                # overrides that go together
  name = \"small\"
  set = [\"agent.hidden=[64, 64]\", \"model.ensemble.hidden=[64, 64]\"]

Every config is checked before the first run starts. A run is what `foresee train CONFIG OVERRIDES` trains,
in the folder sweeps/NAME/RUN such as sweeps/losses/mle/seed-0, with threads=1 unless the config or an
override says otherwise; RUN.log beside it has what it printed. `foresee report sweeps/NAME` compares the runs.

The same command continues a sweep: complete runs are kept, interrupted ones resume, failed ones are tried
again, and further values extend the sweep. A failed run does not end the others. A signal saves all runs; a
second one ends them at once. The exit code is 0 if all runs are complete, 1 if one failed, and 130 after a signal.";

/// Returns the end of the help of `list`: the kinds of choices, a line each.
pub(super) fn choices() -> String {
    let values = Listed::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let line = |value: PossibleValue| {
        let help = value.get_help().map(StyledStr::to_string).unwrap_or_default();
        format!("  {:<8} {help}", value.get_name())
    };
    ["WHAT is one of:".to_owned()].into_iter().chain(values.map(line)).collect::<Vec<_>>().join("\n")
}
