//! The command `list devices`, and devices that this build or this machine lacks.

mod common;

use common::Place;

/// Returns the listed devices with their descriptions.
fn listed(place: &Place) -> Vec<(String, String)> {
    let stdout = place.succeeds(&["list", "devices"]);
    let line = |line: &str| line.split_once(' ').map(|(word, what)| (word.to_owned(), what.trim().to_owned()));
    stdout.lines().map(|text| line(text).unwrap_or_else(|| panic!("{stdout}"))).collect()
}

#[test]
fn a_listed_device_can_be_chosen_or_is_refused_with_the_listed_reason() {
    for place in [Place::new(), Place::without_graphics()] {
        let devices = listed(&place);
        let words: Vec<_> = devices.iter().map(|(word, _)| &**word).collect();
        assert!(["cpu", "ndarray", "wgpu", "wgpu:cpu"].iter().all(|word| words.contains(word)), "{words:?}");
        for (word, what) in &devices {
            let device = format!("device={}", word.replace("<n>", "0"));
            match what.strip_prefix("- ") {
                None => assert!(place.succeeds(&["check", "tiny.toml", &device]).contains("device = "), "{word}"),
                Some(reason) => {
                    let reason = reason.replace("; hint: ", "\nhint: ");
                    for verb in ["check", "train"] {
                        let message = place.refuses(&[verb, "tiny.toml", &device]);
                        assert_eq!(message, format!("override `{device}`: {reason}"), "{word}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_unknown_device_is_refused_with_the_choices() {
    let message = Place::new().refuses(&["check", "tiny.toml", "device=gpu"]);
    assert!(message.contains("unknown device `gpu`") && message.contains("`wgpu:<n>`"), "{message}");
}

#[cfg(feature = "wgpu")]
#[test]
fn a_machine_without_a_driver_is_told_which_package_brings_one() {
    let place = Place::without_graphics();
    for device in ["wgpu", "wgpu:3", "wgpu:cpu"] {
        let message = place.refuses(&["train", "tiny.toml", &format!("device={device}")]);
        let missing = "was not found on this machine: wgpu finds no graphics adapter";
        let start = format!("override `device={device}`: device `{device}` {missing}\nhint: ");
        assert!(message.starts_with(&start), "{message}");
        assert!(message.contains("`mesa-vulkan-drivers`") && message.ends_with("or use `device=cpu`"), "{message}");
    }
    assert!(place.succeeds(&["check", "tiny.toml", "device=cpu"]).contains("env_steps"));
}

#[cfg(feature = "wgpu")]
#[test]
fn an_index_beyond_the_machines_gpus_is_refused_with_their_number() {
    let message = Place::new().refuses(&["check", "tiny.toml", "device=wgpu:40"]);
    let start = "override `device=wgpu:40`: device `wgpu:40` was not found on this machine: wgpu finds ";
    assert!(message.starts_with(start) && message.contains("\nhint: "), "{message}");
}

#[cfg(not(feature = "wgpu"))]
#[test]
fn a_device_outside_the_build_is_refused_with_its_feature() {
    for device in ["wgpu", "wgpu:0", "wgpu:cpu"] {
        assert_eq!(
            Place::new().refuses(&["check", "tiny.toml", &format!("device={device}")]),
            format!(
                "override `device={device}`: device `{device}` is not in this build\n\
                 hint: build with `cargo build --release --features wgpu`, or use `device=cpu`"
            )
        );
    }
}
