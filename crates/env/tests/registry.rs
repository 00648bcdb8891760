//! The list of shipped tasks against the tasks themselves.

use std::collections::BTreeSet;

use foresee_env::test_support::available_environments;
use foresee_env::{BoxSpace, EnvConfig, MujocoConfig, list, make};

#[test]
fn the_list_says_what_the_environments_say() {
    for info in available_environments("the_list_says_what_the_environments_say") {
        let env = make(info.id).unwrap();
        let spec = env.spec();
        let dims = (spec.observation_space.dim(), spec.action_space.dim());
        assert_eq!(dims, (info.obs_dim, info.action_dim), "{}", info.id);
        assert_eq!((spec.id.as_str(), spec.max_episode_steps), (info.id, info.max_episode_steps));
        assert_eq!(spec.action_space, BoxSpace::symmetric(&vec![1.0; info.action_dim]));
    }
}

#[test]
fn keys_of_mujoco_are_refused_where_it_is_not_used() {
    let library = MujocoConfig { library: Some("it.so".into()), assets: None };
    let assets = MujocoConfig { library: None, assets: Some("folder".into()) };
    for (key, mujoco) in [("library", library), ("assets", assets)] {
        for id in ["Pendulum-v1", "gym:Hopper-v5"] {
            let problem = EnvConfig { mujoco: mujoco.clone(), ..EnvConfig::new(id) }.problem().unwrap();
            let hint = "hint: remove the key: only the MuJoCo tasks of `foresee list envs`, such as `Hopper-v5`, ";
            assert!(problem.starts_with(&format!("`env.mujoco.{key}` does not apply to `{id}`\n{hint}")), "{problem}");
        }
    }
}

#[test]
fn ids_are_unique() {
    let ids: BTreeSet<_> = list().iter().map(|info| info.id).collect();
    assert_eq!(ids.len(), list().len());
}
