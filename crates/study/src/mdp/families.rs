//! Families of finite MDPs: random Garnet MDPs, gridworlds and random walks.
//!
//! Garnet: Bhatnagar, Sutton, Ghavamzadeh and Lee, "Natural actor-critic algorithms", Automatica 45, 2009, section 6.

use super::FiniteMdp;
use crate::linear::Matrix;
use crate::random::Random;

/// The size of a random Garnet MDP.
#[derive(Clone, Copy, Debug)]
pub struct Garnet {
    /// The number of states `S`.
    pub states: usize,
    /// The number of actions `A`.
    pub actions: usize,
    /// The number of states that can follow a pair of state and action. One makes the process deterministic.
    pub branching: usize,
    /// The number of absorbing states: each leads to itself, with reward 0.
    pub absorbing: usize,
    /// The discount `γ`.
    pub discount: f64,
}

impl Garnet {
    /// A random process. Rewards are uniform in [-1, 1], and the probabilities of the following states are the lengths
    /// between uniform cuts of [0, 1], that is, uniform over the simplex.
    #[must_use]
    pub fn draw(&self, random: &mut Random) -> FiniteMdp {
        let mut kernel = self.kernel(random);
        let mut reward: Vec<f64> = (0..self.states * self.actions).map(|_| random.between(-1.0, 1.0)).collect();
        for x in random.choose(self.states, self.absorbing) {
            for z in x * self.actions..(x + 1) * self.actions {
                kernel.row_mut(z).fill(0.0);
                kernel[(z, x)] = 1.0;
                reward[z] = 0.0;
            }
        }
        FiniteMdp::new(self.actions, kernel, reward, self.discount)
    }

    /// A random kernel `[S·A, S]` without absorbing states.
    #[must_use]
    pub fn kernel(&self, random: &mut Random) -> Matrix {
        let mut kernel = Matrix::zeros(self.states * self.actions, self.states);
        for z in 0..kernel.rows() {
            let following = random.choose(self.states, self.branching);
            let probabilities = random.simplex(self.branching);
            following.iter().zip(probabilities).for_each(|(&x, p)| kernel[(z, x)] = p);
        }
        kernel
    }
}

/// A gridworld with four moves and an absorbing goal in the last corner.
#[derive(Clone, Copy, Debug)]
pub struct Gridworld {
    /// The number of columns.
    pub width: usize,
    /// The number of rows.
    pub height: usize,
    /// The probability that a random move replaces the chosen one.
    pub slip: f64,
    /// The discount `γ`.
    pub discount: f64,
}

impl Gridworld {
    /// The process. State `x` is the cell in column `x mod width`, row `x / width`; the actions are left, right, up,
    /// down. A move against the border stays. The reward of a step is the probability of entering the goal by it.
    #[must_use]
    pub fn mdp(&self) -> FiniteMdp {
        let (states, goal) = (self.width * self.height, self.width * self.height - 1);
        let moved = |x: usize, a: usize| {
            let (column, row) = (x % self.width, x / self.width);
            match a {
                0 if column > 0 => x - 1,
                1 if column + 1 < self.width => x + 1,
                2 if row > 0 => x - self.width,
                3 if row + 1 < self.height => x + self.width,
                _ => x,
            }
        };
        let mut kernel = Matrix::zeros(states * 4, states);
        let mut reward = vec![0.0; states * 4];
        for x in 0..states {
            for a in 0..4 {
                let z = x * 4 + a;
                if x == goal {
                    kernel[(z, x)] = 1.0;
                    continue;
                }
                kernel[(z, moved(x, a))] += 1.0 - self.slip;
                (0..4).for_each(|other| kernel[(z, moved(x, other))] += self.slip / 4.0);
                reward[z] = kernel[(z, goal)];
            }
        }
        FiniteMdp::new(4, kernel, reward, self.discount)
    }
}

/// A random walk on a line of states with two actions.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// The number of states `S`.
    pub states: usize,
    /// The probability that the step has the direction of the action.
    pub success: f64,
    /// The length of a step.
    pub stride: usize,
    /// The discount `γ`.
    pub discount: f64,
}

impl Walk {
    /// The process: action 0 steps to the left, action 1 to the right, and a step ends at the border at the latest. The
    /// reward is 1 in the last state, 0.6 in the first, and 0 elsewhere.
    #[must_use]
    pub fn mdp(&self) -> FiniteMdp {
        let last = self.states - 1;
        let mut kernel = Matrix::zeros(self.states * 2, self.states);
        let mut reward = vec![0.0; self.states * 2];
        for x in 0..self.states {
            for a in 0..2 {
                let z = x * 2 + a;
                let right = if a == 1 { self.success } else { 1.0 - self.success };
                kernel[(z, (x + self.stride).min(last))] += right;
                kernel[(z, x.saturating_sub(self.stride))] += 1.0 - right;
                reward[z] = if x == last { 1.0 } else { 0.6 * f64::from(u8::from(x == 0)) };
            }
        }
        FiniteMdp::new(2, kernel, reward, self.discount)
    }
}
