//! Known termination rules for imagined states of tasks in Python: Gymnasium's own tasks, by the rules of the native
//! tasks and of Ant and Humanoid, and the tasks of dm_control's suite.
//!
//! A rule holds with keyword arguments that do not touch it ([`HARMLESS`]), and is changed by those that set its ranges.
//! With any other argument it is dropped.
//!
//! `InvertedDoublePendulum-v5` terminates by the height of its tip, which is neither an observation entry nor a distance,
//! so it has no rule here.

use foresee_core::Termination;

use crate::classic::MountainCarContinuous;
use crate::config::kwargs::Kwargs;
use crate::environment::Environment as _;
use crate::mujoco::rules;

/// Keyword arguments of `gymnasium.make` and of its tasks that change neither the ends of episodes by the task itself
/// nor the entries on which a rule has bounds.
const HARMLESS: [&str; 26] = [
    "camera_id",
    "camera_name",
    "contact_cost_range",
    "contact_cost_weight",
    "contact_force_range",
    "ctrl_cost_weight",
    "default_camera_config",
    "forward_reward_weight",
    "frame_skip",
    "healthy_reward",
    "height",
    "include_cfrc_ext_in_observation",
    "include_cinert_in_observation",
    "include_cvel_in_observation",
    "include_qfrc_actuator_in_observation",
    "main_body",
    "max_episode_steps",
    "max_geom",
    "render_mode",
    "reset_noise_scale",
    "reward_control_weight",
    "reward_dist_weight",
    "screen",
    "verbose",
    "visual_options",
    "width",
];

const TERMINATES: &str = "terminate_when_unhealthy";
const WITHOUT_POSITION: &str = "exclude_current_positions_from_observation";
const HEIGHTS: &str = "healthy_z_range";
const ANGLES: &str = "healthy_angle_range";
const STATES: &str = "healthy_state_range";

const INF: f32 = f32::INFINITY;

/// Returns the rule of the task that Gymnasium makes under its own id `task`, with version, and with these arguments.
/// If an argument takes a known rule away, also returns the reason, as part of a sentence.
pub(super) fn termination(task: &str, kwargs: &Kwargs) -> (Option<Termination>, Option<String>) {
    match rule(task, kwargs) {
        None => (None, None),
        Some(Ok(rule)) => (Some(rule), None),
        Some(Err(argument)) => {
            (None, Some(format!("the rule known for `{task}` does not hold with `env.gym.kwargs.{argument}`")))
        }
    }
}

/// Returns the rule of a task, or the argument with which the known rule does not hold; `None` for an unknown task.
fn rule(task: &str, kwargs: &Kwargs) -> Option<Result<Termination, String>> {
    let legs = |own: &[&'static str], position: usize, rule: fn(usize, Ranges<'_>) -> Result<Termination, String>| {
        only(kwargs, &[&[TERMINATES, WITHOUT_POSITION], own].concat())?;
        let flag = |name: &str| kwargs.flag(name, true).ok_or_else(|| name.to_owned());
        let first = if flag(WITHOUT_POSITION)? { 0 } else { position };
        let unhealthy = rule(first, Ranges(kwargs))?;
        Ok(if flag(TERMINATES)? { unhealthy } else { Termination::never() })
    };
    Some(match task {
        "Pendulum-v1" | "Reacher-v5" | "Swimmer-v5" | "HalfCheetah-v5" => Ok(Termination::never()),
        "MountainCarContinuous-v0" => {
            let rule = MountainCarContinuous::new().spec().termination.clone()?;
            only(kwargs, &[]).map(|()| rule)
        }
        "InvertedPendulum-v5" => only(kwargs, &[]).map(|()| rules::inverted_pendulum()),
        "Hopper-v5" => legs(&[HEIGHTS, ANGLES, STATES], 1, |first, ranges| {
            let [z, angle] = [ranges.of(HEIGHTS, [0.7, INF])?, ranges.of(ANGLES, [-0.2, 0.2])?];
            Ok(rules::hopper_with(first, z, angle, ranges.of(STATES, [-100.0, 100.0])?))
        }),
        "Walker2d-v5" => legs(&[HEIGHTS, ANGLES], 1, |first, ranges| {
            Ok(rules::walker2d_with(first, ranges.of(HEIGHTS, [0.8, 2.0])?, ranges.of(ANGLES, [-1.0, 1.0])?))
        }),
        "Ant-v5" => legs(&[HEIGHTS], 2, |first, ranges| Ok(rules::ant_with(first, ranges.of(HEIGHTS, [0.2, 1.0])?))),
        "Humanoid-v5" => {
            legs(&[HEIGHTS], 2, |first, ranges| Ok(rules::humanoid_with(first, ranges.of(HEIGHTS, [1.0, 2.0])?)))
        }
        _ => return None,
    })
}

/// Checks that every argument is harmless or one of these.
///
/// # Errors
/// The first other argument.
fn only(kwargs: &Kwargs, own: &[&str]) -> Result<(), String> {
    let unknown = kwargs.names().find(|name| !HARMLESS.contains(name) && !own.contains(name));
    unknown.map_or(Ok(()), |name| Err(name.to_owned()))
}

/// The arguments that set ranges.
#[derive(Clone, Copy)]
struct Ranges<'a>(&'a Kwargs);

impl Ranges<'_> {
    /// Returns the range `[low, high]`, or the name of an argument that is no range.
    fn of(self, name: &str, default: [f32; 2]) -> Result<[f32; 2], String> {
        self.0.range(name, default).ok_or_else(|| name.to_owned())
    }
}

/// Returns the rule of a task of the suite, DOMAIN-TASK. These tasks never terminate, except those of `lqr`. An `lqr`
/// task ends where the norm of its state is below 1e-6. The error of a model is larger, so it has no rule here.
pub(super) fn termination_of_suite(name: &str) -> Option<Termination> {
    (!name.starts_with("lqr-")).then(Termination::never)
}

#[cfg(test)]
mod tests {
    use foresee_core::termination::Bound;

    use super::*;
    use crate::registry::list;

    fn known(task: &str, kwargs: &str) -> (Option<Termination>, Option<String>) {
        termination(task, &toml::from_str(kwargs).unwrap())
    }

    #[test]
    fn tasks_that_are_native_too_have_the_native_rules() {
        for info in list() {
            let native = crate::make(info.id).map(|env| env.spec().termination.clone());
            if let (Ok(native), (Some(known), _)) = (native, known(info.id, "")) {
                assert_eq!(native, Some(known), "{}", info.id);
            }
        }
        for (task, rule) in [
            ("Hopper-v5", rules::hopper()),
            ("Walker2d-v5", rules::walker2d()),
            ("Ant-v5", rules::ant()),
            ("Humanoid-v5", rules::humanoid()),
        ] {
            assert_eq!(known(task, ""), (Some(rule), None));
        }
        assert_eq!(known("InvertedDoublePendulum-v5", ""), (None, None));
    }

    #[test]
    fn arguments_that_do_not_touch_a_rule_leave_it() {
        let kwargs = "max_episode_steps = 500\nrender_mode = 'rgb_array'\nforward_reward_weight = 2.0\n\
                      ctrl_cost_weight = 0.1\nreset_noise_scale = 0.1\nterminate_when_unhealthy = true";
        for task in ["Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5"] {
            assert_eq!(known(task, kwargs), known(task, ""), "{task}");
            assert!(known(task, "").0.is_some());
        }
        assert_eq!(known("Pendulum-v1", "g = 9.81"), (Some(Termination::never()), None));
    }

    #[test]
    fn arguments_that_set_a_range_change_the_rule() {
        let bound = |index: usize, low, high, closed| Bound { quantity: index.into(), low, high, closed };
        let hopper = known("Hopper-v5", "healthy_z_range = [0.5, 2]\nhealthy_state_range = [-50.0, 50.0]").0.unwrap();
        assert_eq!(hopper.bounds[..2], [bound(0, 0.5, 2.0, false), bound(1, -0.2, 0.2, false)]);
        assert_eq!(hopper.bounds[2..], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|index| bound(index, -50.0, 50.0, false)));
        let walker = known("Walker2d-v5", "healthy_angle_range = [-inf, 0.5]").0.unwrap();
        assert_eq!(walker.bounds, [bound(0, 0.8, 2.0, false), bound(1, -INF, 0.5, false)]);
        let with_position = "exclude_current_positions_from_observation = false";
        assert_eq!(known("Ant-v5", with_position).0.unwrap().bounds, [bound(2, 0.2, 1.0, true)]);
        assert_eq!(known("Walker2d-v5", with_position).0.unwrap().bounds[1], bound(2, -1.0, 1.0, false));
        assert_eq!(known("Humanoid-v5", "terminate_when_unhealthy = false"), (Some(Termination::never()), None));
    }

    #[test]
    fn any_other_argument_takes_the_rule_away_and_is_named() {
        for (task, kwargs, argument) in [
            ("Hopper-v5", "xml_file = 'tall.xml'\nmax_episode_steps = 5", "xml_file"),
            ("Hopper-v5", "healthy_z_range = [2.0, 1.0]", "healthy_z_range"),
            ("Hopper-v5", "healthy_z_range = 1.0", "healthy_z_range"),
            ("Ant-v5", "terminate_when_unhealthy = 0", "terminate_when_unhealthy"),
            ("Ant-v5", "healthy_angle_range = [0, 1]", "healthy_angle_range"),
            ("MountainCarContinuous-v0", "goal_velocity = 0.01", "goal_velocity"),
        ] {
            let reason = format!("the rule known for `{task}` does not hold with `env.gym.kwargs.{argument}`");
            assert_eq!(known(task, kwargs), (None, Some(reason)));
        }
    }
}
