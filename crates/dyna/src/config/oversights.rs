//! Settings that are possible and most likely a mistake: a run that trains nothing, or leaves a part of itself unused.

use crate::config::{Algo, Config};

impl Config {
    /// Returns the last real step after which the model is fitted; `None` if it never is.
    ///
    /// A fit follows the turn that reaches or crosses a multiple of [`Config::fit_every`], if exploration is over then.
    fn last_fit(&self) -> Option<u64> {
        let (count, every) = (self.env.count.max(1) as u64, self.fit_every().max(1));
        let multiple = self.training.env_steps / every * every;
        let step = multiple.next_multiple_of(count);
        (self.algo != Algo::ModelFree && multiple > 0 && step >= self.training.explore_steps).then_some(step)
    }

    /// Returns an error message with a hint if a whole run with this configuration trains nothing.
    ///
    /// [`Config::open`] accepts such a configuration, because a run may be ended early and be extended later.
    #[must_use]
    pub fn problem_of_length(&self) -> Option<String> {
        let (explore, steps) = (self.training.explore_steps, self.training.env_steps);
        if explore > steps {
            let fits = (steps / 10).max(1);
            return Some(format!(
                "`training.explore_steps` is {explore}, but `training.env_steps` is {steps}, so nothing is trained\nhint: lower `training.explore_steps`, for example to {fits}, or raise `training.env_steps` above {explore}"
            ));
        }
        if self.algo == Algo::Dhmbpo && self.last_fit().is_none() {
            let block = self.double_horizon.block;
            return Some(format!(
                "`double_horizon.block` is {block}, and no multiple of it is between `training.explore_steps`, {explore}, and `training.env_steps`, {steps}, so nothing is trained\nhint: lower `double_horizon.block`, or raise `training.env_steps`"
            ));
        }
        None
    }

    /// Returns a warning, with a hint, for each setting that is possible and most likely a mistake.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let (explore, steps) = (self.training.explore_steps, self.training.env_steps);
        let mut warnings = Vec::new();
        if explore == steps {
            warnings.push(format!(
                "`training.explore_steps` and `training.env_steps` are both {steps}, so training follows the last step only\nhint: lower `training.explore_steps`, or raise `training.env_steps`"
            ));
        }
        if self.updates_per_step() == 0 {
            warnings.push("`training.updates_per_step` is 0, so the policy is never trained\nhint: raise it".into());
        }
        if self.algo != Algo::Mbpo {
            return warnings;
        }
        let real_only = [0, steps].map(|step| self.rollout.real_ratio.at(step)) == [1.0; 2];
        if self.last_fit().is_none() {
            warnings.push(format!(
                "`model.fit.every` is {}, and no multiple of it is between `training.explore_steps`, {explore}, and `training.env_steps`, {steps}: no model is fitted, and the agent learns from real transitions only\nhint: lower `model.fit.every`, raise `training.env_steps`, or set `algo = \"model_free\"`",
                self.model.fit.every
            ));
        } else if real_only {
            warnings.push(
                "`rollout.real_ratio` is 1 during the whole run, so the agent never learns from imagined transitions\nhint: lower it, or set `algo = \"model_free\"`"
                    .into(),
            );
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;

    fn config(algo: Algo, [explore, steps]: [u64; 2]) -> Config {
        let mut config: Config = serde_json::from_str(r#"{"env": {"id": "Pendulum-v1"}}"#).unwrap();
        config.algo = algo;
        (config.training.explore_steps, config.training.env_steps) = (explore, steps);
        config
    }

    #[test]
    fn a_run_that_explores_only_is_a_problem() {
        let problem = |explore, steps| config(Algo::ModelFree, [explore, steps]).problem_of_length();
        assert_eq!(problem(5000, 5000), None);
        assert_eq!(
            problem(5000, 3000).unwrap(),
            "`training.explore_steps` is 5000, but `training.env_steps` is 3000, so nothing is trained\n\
             hint: lower `training.explore_steps`, for example to 300, or raise `training.env_steps` above 5000"
        );
        assert!(problem(2, 1).unwrap().contains("for example to 1, "));
    }

    /// The last fit is compared with the rule of the loop, step by step.
    #[test]
    fn the_last_fit_is_the_loops() {
        for count in 1..4_u64 {
            for every in count..9 {
                for explore in 0..12 {
                    for steps in (count..30).step_by(count as usize) {
                        let mut config = config(Algo::Mbpo, [explore, steps]);
                        (config.env.count, config.model.fit.every) = (count as usize, every);
                        let is_fit =
                            |now: &u64| *now >= explore && crate::schedule::crossed_multiple(every, *now, count);
                        let last = (1..=steps / count).map(|turn| turn * count).rfind(is_fit);
                        assert_eq!(config.last_fit(), last, "{count} {every} {explore} {steps}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_run_without_a_block_of_training_is_a_problem_and_one_without_a_fit_a_warning() {
        let mut blocks = config(Algo::Dhmbpo, [100, 900]);
        assert_eq!(
            blocks.problem_of_length().unwrap(),
            "`double_horizon.block` is 1000, and no multiple of it is between `training.explore_steps`, 100, and \
             `training.env_steps`, 900, so nothing is trained\n\
             hint: lower `double_horizon.block`, or raise `training.env_steps`"
        );
        blocks.double_horizon.block = 900;
        assert_eq!((blocks.problem_of_length(), blocks.warnings()), (None, vec![]));

        let mut fits = config(Algo::Mbpo, [100, 400]);
        fits.model.fit.every = 500;
        assert_eq!(fits.problem_of_length(), None);
        let warnings = fits.warnings();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("`model.fit.every` is 500, and no multiple of it is between "), "{warnings:?}");
        fits.model.fit.every = 400;
        assert_eq!(fits.warnings(), [""; 0]);
        fits.algo = Algo::ModelFree;
        fits.model.fit.every = 500;
        assert_eq!(fits.warnings(), [""; 0]);
    }

    #[test]
    fn what_a_run_does_not_use_is_a_warning() {
        let mut all_real = config(Algo::Mbpo, [100, 400]);
        all_real.model.fit.every = 100;
        for (ratio, warned) in [
            (Schedule::Constant(1.0), true),
            (Schedule::Linear([1.0, 0.1, 400.0, 500.0]), true),
            (Schedule::Linear([1.0, 0.1, 0.0, 5000.0]), false),
            (Schedule::Constant(0.0), false),
        ] {
            all_real.rollout.real_ratio = ratio;
            assert_eq!(all_real.warnings().len(), usize::from(warned), "{ratio:?}");
        }
        all_real.training.updates_per_step = Some(0);
        all_real.training.explore_steps = 400;
        let starts =
            ["`training.explore_steps` and `training.env_steps` are both 400", "`training.updates_per_step` is 0"];
        let warnings = all_real.warnings();
        assert!(warnings.len() == 2 && warnings.iter().zip(starts).all(|(a, b)| a.starts_with(b)), "{warnings:?}");
    }
}
