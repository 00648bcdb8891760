//! Where the library and Gymnasium's models are looked for.
//!
//! What is named, by the config or by `MUJOCO_LIB`, is used or is an error: nothing else is tried in its place. Else a
//! virtual environment comes before the system, because the versions are pinned there.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::MujocoError;

/// The environment variable that names the library.
pub(super) const VARIABLE: &str = "MUJOCO_LIB";

/// Files to try for the library in that order, and what was searched, in words. A bare name is for the loader's path.
pub(super) struct Candidates {
    pub(super) paths: Vec<PathBuf>,
    pub(super) searched: Vec<String>,
}

/// The library that is named, by `[env.mujoco] library` or by `MUJOCO_LIB`.
pub(super) fn named(library: Option<&Path>) -> Option<PathBuf> {
    library.map(PathBuf::from).or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from))
}

/// Where the library may be if nobody named it.
pub(super) fn library() -> Candidates {
    let mut paths = Vec::new();
    let mut searched = vec![format!("`env.mujoco.library` and ${VARIABLE}: not set")];
    match virtual_env() {
        Some(root) => {
            let found: Vec<_> = site_packages(&root).iter().flat_map(|site| libraries(&site.join("mujoco"))).collect();
            searched.push(format!("{}: {} in mujoco/ of its site-packages", root.display(), count(found.len())));
            paths.extend(found);
        }
        None => searched.push("$VIRTUAL_ENV: not set".into()),
    }
    let name = libloading::library_filename("mujoco");
    searched.push(format!("the loader's path: no {}", name.display()));
    paths.push(name.into());
    Candidates { paths, searched }
}

/// Where the library may be according to `python3`, and what was searched, in words.
pub(super) fn library_of_python() -> Candidates {
    let folder = folder_of_package("mujoco");
    let paths = folder.as_deref().map(libraries).unwrap_or_default();
    let searched = match folder {
        Some(folder) => format!("python3: {} in {}", count(paths.len()), folder.display()),
        None => "python3: it does not know the package `mujoco`".into(),
    };
    Candidates { paths, searched: vec![searched] }
}

fn count(libraries: usize) -> String {
    if libraries == 0 { "no library".into() } else { format!("{libraries} that cannot be loaded") }
}

/// The folder of Gymnasium's models.
///
/// # Errors
/// If no place has it, with the places.
pub(super) fn assets(named: Option<&Path>, library: &Path) -> Result<PathBuf, MujocoError> {
    let mut searched = Vec::new();
    let mut is_there = |folder: PathBuf| {
        let there = folder.join("hopper.xml").is_file();
        if !there {
            searched.push(folder.display().to_string());
        }
        there.then_some(folder)
    };
    if let Some(folder) = named {
        return is_there(folder.into()).ok_or(MujocoError::NoAssets { searched });
    }
    let within = |site: &Path| site.join("gymnasium/envs/mujoco/assets");
    let beside = library.parent().and_then(Path::parent).filter(|site| !site.as_os_str().is_empty()).map(within);
    let sites = virtual_env().map(|root| site_packages(&root)).unwrap_or_default();
    let found = beside.into_iter().chain(sites.iter().map(|site| within(site))).find_map(&mut is_there);
    let found = found.or_else(|| is_there(folder_of_package("gymnasium")?.join("envs/mujoco/assets")));
    found.ok_or_else(|| {
        searched.push("python3: it does not know the package `gymnasium`, or not with these models".into());
        MujocoError::NoAssets { searched }
    })
}

fn virtual_env() -> Option<PathBuf> {
    std::env::var_os("VIRTUAL_ENV").filter(|root| !root.is_empty()).map(PathBuf::from)
}

/// `lib/python3*/site-packages`, on Windows `Lib/site-packages`.
fn site_packages(root: &Path) -> Vec<PathBuf> {
    let versions = entries(&root.join("lib")).into_iter().filter(|path| file_name(path).starts_with("python3"));
    let sites = versions.map(|version| version.join("site-packages")).chain([root.join("Lib/site-packages")]);
    sites.filter(|site| site.is_dir()).collect()
}

/// MuJoCo's libraries in a folder: `libmujoco.so.3.17.0`, `libmujoco.3.17.0.dylib` or `mujoco.dll`.
fn libraries(folder: &Path) -> Vec<PathBuf> {
    let is_library = |path: &PathBuf| {
        let name = file_name(path);
        name == "mujoco.dll" || name.starts_with("libmujoco") && (name.contains(".so") || name.ends_with(".dylib"))
    };
    entries(folder).into_iter().filter(is_library).collect()
}

/// The sorted entries of a folder; none if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Where `python3` would import a package from, without importing it.
fn folder_of_package(name: &str) -> Option<PathBuf> {
    let program = format!(
        "from importlib.util import find_spec; spec = find_spec('{name}'); \
         print(spec.submodule_search_locations[0] if spec else '', end='')"
    );
    let output = Command::new("python3").args(["-c", &program]).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !folder.is_empty()).then(|| folder.into())
}
