//! Conversion between rows and panels.
//!
//! A panel holds [`PANEL_ROWS`] rows with features outermost: `[features][PANEL_ROWS]`. The vectors of a kernel then
//! run over rows, so that all of their lanes are used, whether a network has 6, 24 or 200 outputs. Unused rows of a
//! panel are 0.

use super::PANEL_ROWS;

/// One number for each row of a panel: a feature of the panel, or a quantity of its rows.
pub type PerRow = [f32; PANEL_ROWS];

/// Number of panels that `rows` rows fill.
#[must_use]
pub fn count(rows: usize) -> usize {
    rows.div_ceil(PANEL_ROWS)
}

/// Returns feature `i` of a panel; of several panels with one feature each, that of panel `i`.
#[inline(always)]
#[must_use]
pub fn feature(panel: &[f32], i: usize) -> &PerRow {
    panel[i * PANEL_ROWS..][..PANEL_ROWS].try_into().expect("a panel has whole features")
}

/// Returns feature `i` as [`feature`] does, mutable.
#[inline(always)]
#[must_use]
pub fn feature_mut(panel: &mut [f32], i: usize) -> &mut PerRow {
    (&mut panel[i * PANEL_ROWS..][..PANEL_ROWS]).try_into().expect("a panel has whole features")
}

/// Writes rows `[·, width]`, at most [`PANEL_ROWS`] of them, into one panel.
#[inline]
pub fn pack(rows: &[f32], width: usize, panel: &mut [f32]) {
    let panel = &mut panel[..width * PANEL_ROWS];
    if rows.len() < panel.len() {
        panel.fill(0.0);
    }
    for (panel_row, row) in rows.chunks_exact(width.max(1)).enumerate() {
        for (column, &x) in panel.chunks_exact_mut(PANEL_ROWS).zip(row) {
            column[panel_row] = x;
        }
    }
}

/// Writes the rows of `all`, `[·, width]`, that `rows` lists, at most [`PANEL_ROWS`] of them, into one panel.
#[inline]
pub fn gather(all: &[f32], width: usize, rows: &[u32], panel: &mut [f32]) {
    let panel = &mut panel[..width * PANEL_ROWS];
    if rows.len() < PANEL_ROWS {
        panel.fill(0.0);
    }
    for (panel_row, &row) in rows.iter().enumerate() {
        let row = &all[row as usize * width..][..width];
        for (column, &x) in panel.chunks_exact_mut(PANEL_ROWS).zip(row) {
            column[panel_row] = x;
        }
    }
}

/// Reads rows `[·, width]` from one panel.
#[inline]
pub fn unpack(panel: &[f32], width: usize, rows: &mut [f32]) {
    for (panel_row, row) in rows.chunks_exact_mut(width.max(1)).enumerate() {
        for (x, column) in row.iter_mut().zip(panel.chunks_exact(PANEL_ROWS)) {
            *x = column[panel_row];
        }
    }
}

/// Reads row `panel_row` of a panel, `[width]`.
#[inline]
pub fn unpack_row(panel: &[f32], panel_row: usize, row: &mut [f32]) {
    row.iter_mut().zip(panel.chunks_exact(PANEL_ROWS)).for_each(|(x, column)| *x = column[panel_row]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_padding_is_zero() {
        for rows in [0, 1, 7, PANEL_ROWS] {
            let width = 3;
            let x: Vec<f32> = (0..rows * width).map(|i| i as f32 + 1.0).collect();
            let mut panel = vec![f32::NAN; width * PANEL_ROWS];
            pack(&x, width, &mut panel);
            let mut back = vec![0.0; rows * width];
            unpack(&panel, width, &mut back);
            assert_eq!(x, back);
            assert!(panel.chunks(PANEL_ROWS).all(|column| column[rows..].iter().all(|&x| x == 0.0)));
            let mut gathered = vec![f32::NAN; width * PANEL_ROWS];
            gather(&x, width, &(0..rows as u32).collect::<Vec<_>>(), &mut gathered);
            assert_eq!(gathered, panel);
        }
    }
}
