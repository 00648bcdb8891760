//! `sweep`: trains the runs of a sweep in processes side by side, and continues a sweep that was interrupted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use foresee::Config;
use foresee::memory;
use foresee::shell::quoted;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{DONE, counted, load_telling, print_line};
use crate::cli::SweepArguments;
use crate::driver::INTERRUPTED;
use crate::failure::Failure;
use crate::manifest;
use crate::signals;
use crate::sweep::folder::SweepDir;
use crate::sweep::members::{Member, plain};
use crate::sweep::plan::Plan;
use crate::sweep::runner::{self, End, Event, Job, Running};

/// The exit code if a run failed.
const FAILED: u8 = 1;
/// Shortest time between two lines about runs in progress, if stderr is no terminal.
const INTERVAL: Duration = Duration::from_mins(1);
/// Shortest time between two looks at the runs in progress on a terminal.
const REDRAW: Duration = Duration::from_millis(500);

/// Runs or continues a sweep.
pub(super) fn sweep(arguments: &SweepArguments) -> Result<u8, Failure> {
    let mut plan = Plan::read(&arguments.file, &arguments.choices)?;
    plan.name = arguments.name.clone().unwrap_or(plan.name);
    refuse_name(&plan.name)?;
    let runs = checked(plan.members()?)?;
    if arguments.dry_run {
        return list(&runs);
    }
    let folder = arguments.out.clone().unwrap_or_else(|| Path::new("sweeps").join(&plan.name));
    let command = command(arguments);
    let dir = SweepDir::open(&folder, &plan.name, &command, &runs)?;
    let is_complete = |run: &&(Member, Config)| manifest::is_complete(&dir.of_run(&run.0), run.1.training.env_steps);
    let (complete, missing): (Vec<_>, Vec<_>) = runs.iter().partition(is_complete);
    let job =
        |run: &(Member, Config)| Job { member: run.0.clone(), folder: dir.of_run(&run.0), log: dir.log_of(&run.0) };
    let jobs: Vec<Job> = missing.into_iter().map(job).collect();
    let at_once = arguments.jobs.map_or_else(|| jobs_for(&runs), |jobs| jobs as usize).min(jobs.len().max(1));
    let before = complete.len();
    eprintln!("{} in {}, {at_once} at once", counted(runs.len(), "run"), folder.display());
    if before > 0 {
        print_line(format!(
            "{} complete before",
            if before == 1 { "1 run was".into() } else { format!("{before} runs were") }
        ))?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    signals::stop_by_signals(&stop);
    let mut show = Show::new(runs.len(), before);
    runner::run(&jobs, at_once, &stop, &mut |event| show.event(event));
    show.total(&folder, &command, stop.load(Ordering::Relaxed))
}

/// Refuses a name that is no name of a folder.
fn refuse_name(name: &str) -> Result<(), Failure> {
    if plain(name) == name {
        return Ok(());
    }
    Err(Failure::Input(format!(
        "the name `{name}` of the sweep cannot be the name of a folder\nhint: use letters, digits, `-` and `_`, such as --name {}",
        plain(name)
    )))
}

/// Checks the config of every run as `train` does, and prints each note and warning once. Runs have one thread, unless
/// the config or an override says otherwise.
fn checked(members: Vec<Member>) -> Result<Vec<(Member, Config)>, Failure> {
    let (mut told, mut known) = (BTreeSet::new(), BTreeMap::<String, String>::new());
    let mut runs = Vec::new();
    let limits = memory::limits();
    for mut member in members {
        let texts = super::texts(&member.overrides);
        let mut tell = |message: String| {
            if !told.contains(&message) {
                eprintln!("{message}");
                told.insert(message);
            }
        };
        let loaded = load_telling(&member.config, &texts, &mut tell).and_then(|(source, setup)| {
            setup.check_memory(&limits).map_err(|problem| source.blame(&problem))?;
            Ok(setup.config)
        });
        let mut config = loaded.map_err(|failure| Failure::Input(format!("the run `{}`: {failure}", member.name)))?;
        let given = texts.iter().any(|text| text.split('=').next().unwrap_or_default().trim() == "threads");
        if config.threads == 0 && !given {
            config.threads = 1;
            member.overrides.push("threads=1".into());
        }
        let text = toml::to_string(&config).expect("a config that came from TOML goes back to TOML");
        if let Some(other) = known.insert(text, member.name.clone()) {
            return Err(Failure::Input(format!(
                "the runs `{other}` and `{}` have the same config\nhint: leave one of them out; `--dry-run` prints the overrides of every run",
                member.name
            )));
        }
        runs.push((member, config));
    }
    Ok(runs)
}

/// Prints the runs with their commands.
fn list(runs: &[(Member, Config)]) -> Result<u8, Failure> {
    for (Member { name, config, overrides }, _) in runs {
        let words: Vec<String> = overrides.iter().map(|text| word(text)).collect();
        print_line(format!("{name}: {} {}", quoted(config), words.join(" ")).trim_end())?;
    }
    Ok(DONE)
}

/// Returns the number of runs at once that use every core, for the run with the most threads.
fn jobs_for(runs: &[(Member, Config)]) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = runs.iter().map(|(_, config)| if config.threads == 0 { cores } else { config.threads }).max();
    (cores / threads.unwrap_or(1).max(1)).max(1)
}

/// Returns an argument as one word of a command line for a shell.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.,:/=@%+-".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain) {
        return text.to_owned();
    }
    quoted(Path::new(text))
}

/// Returns the command line of the sweep.
fn command(arguments: &SweepArguments) -> String {
    let mut words = vec!["foresee".to_owned(), "sweep".into(), quoted(&arguments.file)];
    words.extend(arguments.choices.iter().map(|text| word(text)));
    words.extend(arguments.jobs.iter().map(|jobs| format!("--jobs {jobs}")));
    words.extend(arguments.name.iter().map(|name| format!("--name {}", word(name))));
    words.extend(arguments.out.iter().map(|out| format!("--out {}", quoted(out))));
    words.join(" ")
}

/// The lines and the bar that show a sweep, and the numbers of its runs.
struct Show {
    bar: Option<ProgressBar>,
    shown: Instant,
    began: Instant,
    runs: usize,
    complete: usize,
    failed: Vec<String>,
    interrupted: usize,
}

impl Show {
    fn new(runs: usize, complete: usize) -> Self {
        let target = ProgressDrawTarget::stderr();
        let bar = (!target.is_hidden()).then(|| {
            let style =
                ProgressStyle::with_template("{bar:30} {pos}/{len} runs  {wide_msg}").expect("a valid template");
            ProgressBar::with_draw_target(Some(runs as u64), target).with_style(style).with_position(complete as u64)
        });
        let now = Instant::now();
        Self { bar, shown: now, began: now, runs, complete, failed: Vec::new(), interrupted: 0 }
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Ended(job, end, time) => {
                let line = line(job, end, *time);
                match end {
                    End::Complete => self.complete += 1,
                    End::Failed(_) => self.failed.push(job.member.name.clone()),
                    End::Interrupted => self.interrupted += 1,
                }
                self.print(&line);
                let ended = self.complete + self.failed.len() + self.interrupted;
                self.bar.iter().for_each(|bar| bar.set_position(ended as u64));
            }
            Event::Waiting(job) => {
                let folder = job.folder.display();
                self.note(&format!("note: another process trains in `{folder}`; the sweep waits for its end"));
            }
            Event::Passed(running) => self.passed(running),
        }
    }

    /// Prints a line of the result. A reader that is gone does not stop the runs.
    fn print(&self, line: &str) {
        let print = || drop(print_line(line));
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn passed(&mut self, running: &[Running<'_>]) {
        let interval = if self.bar.is_some() { REDRAW } else { INTERVAL };
        if self.shown.elapsed() < interval || running.is_empty() {
            return;
        }
        self.shown = Instant::now();
        let of_run = |running: &Running<'_>| {
            let progress = running.progress().unwrap_or_else(|| "begins".into());
            format!("{} {progress}", running.job.member.name)
        };
        let runs = running.iter().map(of_run).collect::<Vec<_>>().join(", ");
        match &self.bar {
            Some(bar) => bar.set_message(runs),
            None => {
                let (complete, all, seconds) = (self.complete, self.runs, self.began.elapsed().as_secs());
                eprintln!("{complete} of {all} runs complete after {seconds} s; in progress: {runs}");
            }
        }
    }

    /// Prints the numbers of the runs and what to do next, and returns the exit code.
    fn total(&self, folder: &Path, command: &str, stopped: bool) -> Result<u8, Failure> {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
        let Self { runs, complete, failed, interrupted, .. } = self;
        let left = runs - complete - failed.len() - interrupted;
        let numbers =
            [(*complete, "complete"), (failed.len(), "failed"), (*interrupted, "interrupted"), (left, "not started")];
        let numbers: Vec<String> =
            numbers.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
        let seconds = self.began.elapsed().as_secs_f64();
        print_line(format!("total        {}: {} in {seconds:.0} s", counted(*runs, "run"), numbers.join(", ")))?;
        if !failed.is_empty() {
            print_line(format!("failed       {}", failed.join(", ")))?;
        }
        print_line(format!("compare      foresee report {}", quoted(folder)))?;
        if complete < runs {
            print_line(format!("to continue: {command}"))?;
        }
        Ok(if *interrupted > 0 || (stopped && left > 0) {
            INTERRUPTED
        } else if failed.is_empty() {
            DONE
        } else {
            FAILED
        })
    }
}

/// Returns the line about the end of a run. That of a failed run is followed by its hint and by the place of its log.
fn line(job: &Job, end: &End, time: Duration) -> String {
    let (name, seconds) = (&job.member.name, time.as_secs_f64());
    let last = last_return(&job.folder).map_or_else(|| "no evaluation".into(), |last| format!("return {last:.1}"));
    match end {
        End::Complete => format!("complete     {name}: {last}, {seconds:.0} s"),
        End::Interrupted => format!("interrupted  {name}: {last}, {seconds:.0} s, saved"),
        End::Failed(reason) => {
            let hint = reason.hint.as_ref().map_or_else(String::new, |hint| format!("\n             hint: {hint}"));
            format!("failed       {name}: {}{hint}\n             log: {}", reason.what, job.log.display())
        }
    }
}

/// Returns the mean return of the last evaluation in the folder of a run.
fn last_return(run: &Path) -> Option<f64> {
    let results: PathBuf = run.join("results.csv");
    let text = std::fs::read_to_string(results).ok()?;
    let mut lines = text.lines();
    let column = lines.next()?.split(',').position(|name| name == "episode_reward")?;
    lines.next_back()?.split(',').nth(column)?.parse().ok()
}
