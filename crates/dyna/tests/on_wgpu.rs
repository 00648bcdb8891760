//! Buffers and runs on a GPU: draws on the GPU equal those of the host; a run there is repeatable, can be cut, and can
//! change its device.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use burn::tensor::Device;
use common::{differing, finish, numbers, tiny_of, whole};
use foresee_core::{Batch, Stream, Transition};
use foresee_dyna::replay::{self, DrawCounter, ImaginedBuffer, RealBuffer};
use foresee_dyna::{Config, Run};
use foresee_nn::device::{DeviceChoice, wgpu_of_test};
use foresee_nn::tensors;

/// Names of two streams of noise.
const NOISE: [&str; 2] = ["agent/noise_next", "agent/noise"];

/// Returns random rows, some of which terminated.
fn rows(name: &str, count: usize, [obs_dim, action_dim]: [usize; 2]) -> Batch {
    let normals = |field: &str, columns| Stream::new(1, &format!("{name}/{field}")).normals(0, count, columns);
    Batch {
        rows: count,
        obs: normals("obs", obs_dim),
        action: normals("action", action_dim),
        reward: normals("reward", 1),
        next_obs: normals("next_obs", obs_dim),
        not_terminated: normals("ends", 1).into_iter().map(|x| if x > 1.0 { 0.0 } else { 1.0 }).collect(),
    }
}

fn transition(rows: &Batch, i: usize, [o, a]: [usize; 2]) -> Transition {
    Transition {
        obs: rows.obs[i * o..][..o].to_vec(),
        action: rows.action[i * a..][..a].to_vec(),
        reward: rows.reward[i],
        next_obs: rows.next_obs[i * o..][..o].to_vec(),
        terminated: rows.not_terminated[i] == 0.0,
        truncated: false,
    }
}

#[test]
fn batches_and_noise_drawn_on_the_device_are_those_of_the_host() {
    let Some(gpu) = wgpu_of_test("batches_and_noise_drawn_on_the_device_are_those_of_the_host") else { return };
    // Number of rows in the real buffer, capacity of the ring and number of rows added to it, and shares of the batch.
    // The mirror grows twice in the first case.
    let cases = [
        ([3, 1], 3000, (50, 37), [13, 243]),
        ([17, 6], 1, (50, 50), [0, 257]),
        ([1, 1], 1025, (64, 150), [1, 1]),
        ([11, 3], 77, (5, 0), [256, 0]),
    ];
    for (dims, pushed, (capacity, imagined_rows), shares) in cases {
        let (mut real, mut imagined) = (RealBuffer::new(dims, &gpu), ImaginedBuffer::on(capacity, dims, &gpu));
        let all = rows("real", pushed, dims);
        (0..pushed).for_each(|i| real.push(&transition(&all, i, dims)));
        let mirror = real.mirror().expect("a GPU has a mirror");
        assert_eq!(&mirror.read(pushed), real.rows());
        imagined.extend(&rows("imagined", imagined_rows, dims));

        let (count, seed) = (shares[0] + shares[1], u64::MAX - 5);
        let mut draw_counter = DrawCounter::default();
        for update in [0, 7, (1 << 40) + 3] {
            let (batch, noise) = replay::draw(&real, &imagined, shares, [seed, update], NOISE, &mut draw_counter)
                .expect("both buffers are on the GPU");
            let got = Batch {
                rows: count,
                obs: tensors::to_vec(batch.obs),
                action: tensors::to_vec(batch.action),
                reward: tensors::to_vec(batch.reward),
                next_obs: tensors::to_vec(batch.next_obs),
                not_terminated: tensors::to_vec(batch.not_terminated),
            };
            let mut want = Batch::default();
            replay::mix(&real, &imagined, shares, [seed, update], &mut want);
            assert_eq!(got, want, "{dims:?}, update {update}");
            for (name, noise) in NOISE.into_iter().zip(noise) {
                let want = Stream::new(seed, name).normals(update, count, dims[1]);
                for (got, want) in tensors::to_vec(noise).into_iter().zip(want) {
                    // Vulkan allows this error for a division and a square root, after the polynomial.
                    assert!((got - want).abs() <= 2e-6 * want.abs(), "{name}: {got}, expected {want}");
                }
            }
        }
    }
}

#[test]
fn a_ring_on_the_device_is_the_hosts_ring() {
    let Some(gpu) = wgpu_of_test("a_ring_on_the_device_is_the_hosts_ring") else { return };
    let dims = [3, 2];
    for seed in 0..6 {
        let mut draws = Stream::new(seed, "test/ring").at(0, 0);
        let capacity = 1 + draws.below(20);
        let mut rings = [ImaginedBuffer::new(capacity, dims[0], dims[1]), ImaginedBuffer::on(capacity, dims, &gpu)];
        assert_eq!(rings.each_ref().map(ImaginedBuffer::is_on_device), [false, true]);
        for step in 0..25 {
            let (what, amount) = (draws.below(4), draws.below(30));
            let batch = rows(&format!("{seed}/{step}"), amount, dims);
            for ring in &mut rings {
                match what {
                    0 => ring.resize(1 + amount),
                    1 => {
                        let mut restored = ImaginedBuffer::new(1, dims[0], dims[1]);
                        if ring.is_on_device() {
                            restored = ImaginedBuffer::on(1, dims, &gpu);
                        }
                        restored.load(ring.save()).expect("its own state");
                        *ring = restored;
                    }
                    _ => ring.extend(&batch),
                }
            }
            let [host, device] = rings.each_ref().map(ImaginedBuffer::save);
            assert_eq!(differing(&host, &device), [""; 0], "seed {seed}, step {step}: {what} by {amount}");
            assert_eq!(rings[0].len(), rings[1].len());
        }
    }
}

#[test]
fn a_ring_is_restored_whose_rows_are_no_buffer_of_the_device_together() {
    let Some(gpu) = wgpu_of_test("a_ring_is_restored_whose_rows_are_no_buffer_of_the_device_together") else { return };
    // Each array fits even where a buffer is limited to 128 MiB, but the records of all rows do not.
    let (dims, count) = ([2, 1], 5_000_000);
    let numbers = |columns: usize, by: f32| (0..count * columns).map(|i| by * (i % 1_000_003) as f32).collect();
    let all = Batch {
        rows: count,
        obs: numbers(2, 1.0),
        action: numbers(1, 2.0),
        reward: numbers(1, 3.0),
        next_obs: numbers(2, 4.0),
        not_terminated: numbers(1, 0.0),
    };
    let mut host = ImaginedBuffer::new(count, dims[0], dims[1]);
    host.extend(&all);
    let mut ring = ImaginedBuffer::on(1, dims, &gpu);
    ring.load(host.save()).expect("its own state");
    assert!(ring.is_on_device());
    assert!(*ring.rows() == all, "the rows that were sent");
}

#[test]
fn a_mirror_is_restored_with_its_rows() {
    let Some(gpu) = wgpu_of_test("a_mirror_is_restored_with_its_rows") else { return };
    let dims = [2, 1];
    for count in [0, 5, 1024, 1500] {
        let all = rows("real", count + 1, dims);
        let mut real = RealBuffer::new(dims, &Device::flex());
        (0..count).for_each(|i| real.push(&transition(&all, i, dims)));
        assert!(real.mirror().is_none());
        let mut real = RealBuffer::restore(real.save(), dims, 1, &gpu).expect("its own state");
        real.push(&transition(&all, count, dims));
        assert_eq!(real.mirror().expect("a GPU has a mirror").read(count + 1), all);
    }
}

/// A tiny run on the GPU with few updates per step.
fn on_gpu(kind: Option<&'static str>) -> Config {
    let mut config = Config { device: DeviceChoice::Wgpu, ..tiny_of(kind) };
    config.training.updates_per_step = Some(3);
    config.training.eval_every = 1000;
    config
}

#[test]
fn a_run_on_a_gpu_is_repeatable_and_goes_on_bit_for_bit_after_a_cut() {
    if wgpu_of_test("a_run_on_a_gpu_is_repeatable_and_goes_on_bit_for_bit_after_a_cut").is_none() {
        return;
    }
    for kind in [None, Some("mle"), Some("vagram"), Some("dhmbpo mle")] {
        let config = on_gpu(kind);
        let (records, state) = whole(&config);
        let again = whole(&config);
        assert_eq!(again.0, records, "{kind:?}");
        assert_eq!(differing(&again.1, &state), [""; 0], "{kind:?}");

        // Cut after every slice of the training, in every phase.
        let mut run = Run::new(&config).expect("a possible configuration");
        let mut cut_records = Vec::new();
        while !run.is_done() {
            if run.env_step() >= config.training.explore_steps {
                run = Run::restore(&config, run.snapshot().expect("a device that answers")).expect("its own state");
            }
            run.advance(&mut cut_records).expect("a tiny run goes well");
        }
        assert_eq!(cut_records, records, "{kind:?}, cut");
        assert_eq!(differing(&run.snapshot().expect("a device that answers"), &state), [""; 0], "{kind:?}, cut");
    }
}

#[test]
fn a_run_begun_on_one_device_goes_on_on_another() {
    if wgpu_of_test("a_run_begun_on_one_device_goes_on_on_another").is_none() {
        return;
    }
    let gpu = on_gpu(Some("vagram"));
    let cpu = Config { device: DeviceChoice::Cpu, ..gpu.clone() };
    for [first, second] in [[&gpu, &cpu], [&cpu, &gpu]] {
        for phase in ["act", "fit model", "imagine", "update"] {
            let mut run = Run::new(first).expect("a possible configuration");
            while run.phase() != phase || run.env_step() < 201 {
                run.advance(&mut Vec::new()).expect("a tiny run goes well");
            }
            let state = run.snapshot().expect("a device that answers");
            let mut run = Run::restore(second, state.clone()).expect("a state of any device");
            assert_eq!(differing(&run.snapshot().expect("a device that answers"), &state), [""; 0], "in {phase}");
            finish(&mut run);
            assert_eq!(numbers(&run.snapshot().expect("a device that answers"), "counters.env_step"), [205.0]);
        }
    }
}
