//! `sweep`: the runs of an experiment file, or a shard of them, without judging.
//!
//! Shards (`--shard i/n`) are meant for a cluster's own scheduler: any number of them, on as many machines, write to
//! one folder of runs, which `report` reads. Each run is complete or does not count, so a sweep can be killed at any
//! moment and continues when it is started again.

use crate::io::error::UserError;
use crate::run::catalog::Catalog;
use crate::run::headless::Outcome;
use crate::run::plan::{Conditions, Plan};
use crate::run::queue::Ended;
use crate::run::replicas;
use crate::spec::experiment::{Experiment, Extent};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

/// The `i`-th of `n` shards, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// `i`.
    pub index: usize,
    /// `n`.
    pub count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Self { index, count }),
            _ => Err("it has to be i/n with i from 1 to n, such as 1/4".into()),
        }
    }
}

/// What to run and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// Folder of an experiment.
    pub experiment: PathBuf,
    /// Names of points; all when empty.
    pub points: Vec<String>,
    /// Which part of it to run.
    pub extent: Extent,
    /// The shard of the runs.
    pub shard: Shard,
    /// Maximum number of runs of one shape trained as one tensor program; when `None`, each run has its own process.
    pub replicas: Option<NonZeroUsize>,
    /// Whether runs are only listed, not executed.
    pub dry_run: bool,
    /// Where and how runs are executed.
    pub conditions: Conditions,
}

/// Executes missing runs; returns whether this came to its end.
///
/// # Errors
/// [`UserError`] when the experiment cannot be read or runs failed.
pub fn sweep(request: &Request, catalog: &Catalog, stop: &AtomicBool) -> Result<bool, UserError> {
    let conditions = &request.conditions;
    let mut experiment = Experiment::load(&request.experiment, request.extent, catalog.parts())?;
    experiment.points = experiment.chosen(&request.points)?.into_iter().cloned().collect();
    experiment.pin(conditions.data_dir.as_deref())?;
    let mut plan = Plan::new(vec![experiment], conditions);
    plan.keep_shard(request.shard.index - 1, request.shard.count);
    if request.dry_run {
        for job in plan.missing()? {
            crate::say_line!("{}", job.folder.display());
        }
        crate::say_line!("{}", plan.cost(&plan.missing()?));
        return Ok(true);
    }
    crate::io::device::open(&conditions.device)?;
    let ended = match request.replicas {
        Some(most) => in_groups(&plan, most.get(), &conditions.device, stop)?,
        None => plan.carry_out(&plan.missing()?, stop, &mut |_| None),
    };
    if !ended.failures.is_empty() {
        return Err(UserError::Run(ended.failures.join("\n")));
    }
    crate::say_line!("{} runs made, {} to go, {} in this shard.", ended.finished, ended.stopped, plan.all());
    Ok(!stop.load(Ordering::Relaxed))
}

/// Trains runs of one shape side by side in this process, and executes the others as usual.
fn in_groups(plan: &Plan, most: usize, device: &str, stop: &AtomicBool) -> Result<Ended, UserError> {
    let (groups, alone) = replicas::groups(plan.missing()?, most);
    let mut ended = Ended::default();
    let device = crate::io::device::open(device)?;
    for (index, group) in groups.iter().enumerate() {
        let title = format!("group {} of {}, {} replicas", index + 1, groups.len(), group.len());
        crate::say_line!("{title}");
        let mut next = 0.25;
        let outcome = replicas::execute(group, &device, stop, &mut |fraction| {
            if fraction >= next {
                crate::say_line!("{title}: {:.0} %", 100.0 * fraction);
                next += 0.25;
            }
        });
        match outcome {
            Ok(Outcome::Finished) => ended.finished += group.len(),
            Ok(Outcome::Stopped { .. }) => ended.stopped += group.len(),
            Err(e) => ended.failures.push(e.to_string()),
        }
    }
    let rest = plan.carry_out(&alone, stop, &mut |_| None);
    ended.finished += rest.finished;
    ended.stopped += rest.stopped;
    ended.failures.extend(rest.failures);
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_counted_from_one() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for wrong in ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
