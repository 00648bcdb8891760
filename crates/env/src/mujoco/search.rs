//! The search for the library and for Gymnasium's models.
//!
//! A path named by the config or by `MUJOCO_LIB` is used or is an error: nothing else is tried in its place. Otherwise
//! a virtual environment is searched before the system, because its versions are pinned.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::MujocoError;

/// The environment variable that names the library.
pub(super) const VARIABLE: &str = "MUJOCO_LIB";

/// Returns the library that the user named, and what named it: `env.mujoco.library`, given here, or `MUJOCO_LIB`.
pub(super) fn named(library: Option<&Path>) -> Option<(PathBuf, &'static str)> {
    let given = library.map(|path| (path.into(), "`env.mujoco.library`"));
    given.or_else(|| Some((path_from_env(VARIABLE)?, VARIABLE)))
}

/// A file to try or a bare name for the loader's path; or the message that a place has none.
pub(super) type Candidate = Result<PathBuf, String>;

/// Returns the candidates for a library that nobody named, in the order to try.
pub(super) fn libraries() -> impl Iterator<Item = Candidate> {
    let named = core::iter::once(Err(format!("`env.mujoco.library` and {VARIABLE}, which are not set")));
    // A process is started only if every other place has failed.
    let python = core::iter::once_with(libraries_from_python).flatten();
    named
        .chain(libraries_from_virtual_env(virtual_env().as_deref()))
        .chain([Ok(libloading::library_filename("mujoco").into())])
        .chain(python)
}

fn libraries_from_virtual_env(root: Option<&Path>) -> Vec<Candidate> {
    let Some(root) = root else { return vec![Err("VIRTUAL_ENV, which is not set".into())] };
    let found = site_packages(root).into_iter().flat_map(|site| libraries_in(&site.join("mujoco")));
    let found: Vec<_> = found.map(Ok).collect();
    let nothing = format!("VIRTUAL_ENV {}, which has no package mujoco", root.display());
    if found.is_empty() { vec![Err(nothing)] } else { found }
}

fn libraries_from_python() -> Vec<Candidate> {
    match folder_of_package("mujoco").map(|folder| libraries_in(&folder)) {
        Some(found) if !found.is_empty() => found.into_iter().map(Ok).collect(),
        _ => vec![Err("python3, which has no package mujoco".into())],
    }
}

/// Returns the path of one of Gymnasium's model files.
///
/// # Errors
/// If no place has it, with the searched places.
pub(super) fn model(name: &str, assets: Option<&Path>, library: &Path) -> Result<PathBuf, MujocoError> {
    let mut searched = Vec::new();
    let mut file_in = |folder: PathBuf| {
        let file = folder.join(name);
        let exists = file.is_file();
        if !exists {
            searched.push(format!("{}, which has no {name}", folder.display()));
        }
        exists.then_some(file)
    };
    if let Some(folder) = assets {
        return file_in(folder.into()).ok_or(MujocoError::NoModel { model: name.into(), searched });
    }
    let within = |site: &Path| site.join("gymnasium/envs/mujoco/assets");
    let beside = library.parent().and_then(Path::parent).filter(|site| !site.as_os_str().is_empty()).map(within);
    let sites = virtual_env().map(|root| site_packages(&root)).unwrap_or_default();
    let found = beside.into_iter().chain(sites.iter().map(|site| within(site))).find_map(&mut file_in);
    let found = found.or_else(|| file_in(folder_of_package("gymnasium")?.join("envs/mujoco/assets")));
    found.ok_or_else(|| {
        searched.push("python3, whose package gymnasium is missing or has no such model".into());
        MujocoError::NoModel { model: name.into(), searched }
    })
}

fn virtual_env() -> Option<PathBuf> {
    path_from_env("VIRTUAL_ENV")
}

/// Returns the path in an environment variable; `None` if it is unset or empty.
fn path_from_env(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns the existing folders `lib/python3*/site-packages`, and on Windows `Lib/site-packages`.
fn site_packages(root: &Path) -> Vec<PathBuf> {
    let versions = entries(&root.join("lib")).into_iter().filter(|path| file_name(path).starts_with("python3"));
    let sites = versions.map(|version| version.join("site-packages")).chain([root.join("Lib/site-packages")]);
    sites.filter(|site| site.is_dir()).collect()
}

/// Returns MuJoCo's libraries in a folder: `libmujoco.so.3.17.0`, `libmujoco.3.17.0.dylib` or `mujoco.dll`.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let is_library = |path: &PathBuf| {
        let name = file_name(path);
        name == "mujoco.dll" || name.starts_with("libmujoco") && (name.contains(".so") || name.ends_with(".dylib"))
    };
    entries(folder).into_iter().filter(is_library).collect()
}

/// Returns the sorted entries of a folder; none if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Returns the folder from which `python3` would import a package, without importing it.
fn folder_of_package(name: &str) -> Option<PathBuf> {
    let program = format!(
        "from importlib.util import find_spec; spec = find_spec('{name}'); \
         print(spec.submodule_search_locations[0] if spec else '', end='')"
    );
    let output = Command::new("python3").args(["-c", &program]).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !folder.is_empty()).then(|| folder.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_environments_library_is_found_by_the_name_that_its_system_gives_it() {
        let root = tempfile::tempdir().unwrap();
        let package = root.path().join("lib/python3.11/site-packages/mujoco");
        std::fs::create_dir_all(&package).unwrap();
        let candidates = || libraries_from_virtual_env(Some(root.path()));
        assert_eq!(candidates(), [Err(format!("VIRTUAL_ENV {}, which has no package mujoco", root.path().display()))]);
        for name in ["_batch.cpython-311-x86_64-linux-gnu.so", "mujoco.h", "libmujoco_plugin.txt"] {
            std::fs::write(package.join(name), "").unwrap();
        }
        let names = ["libmujoco.3.17.0.dylib", "libmujoco.so.3.17.0", "mujoco.dll"];
        for name in names {
            std::fs::write(package.join(name), "").unwrap();
        }
        assert_eq!(candidates(), names.map(|name| Ok(package.join(name))));
        assert_eq!(libraries_from_virtual_env(None), [Err("VIRTUAL_ENV, which is not set".to_owned())]);
    }

    #[test]
    fn models_are_found_beside_the_library() {
        let site = tempfile::tempdir().unwrap();
        let assets_of_site = site.path().join("gymnasium/envs/mujoco/assets");
        std::fs::create_dir_all(&assets_of_site).unwrap();
        let file = assets_of_site.join("reacher.xml");
        std::fs::write(&file, "").unwrap();
        let library = site.path().join("mujoco/libmujoco.so.3.17.0");
        assert_eq!(model("reacher.xml", None, &library), Ok(file.clone()));
        assert_eq!(model("reacher.xml", Some(&assets_of_site), Path::new("libmujoco.so")), Ok(file));
        let searched = vec![format!("{}, which has no hopper.xml", assets_of_site.display())];
        let missing = MujocoError::NoModel { model: "hopper.xml".into(), searched };
        assert_eq!(model("hopper.xml", Some(&assets_of_site), &library), Err(missing));
    }
}
