//! Certificates of the lab: an authority and what it signs, in memory and as PEM files for the servers.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// A certificate authority with the given common name.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server's certificate with its key, and the authority's.
pub struct Identity {
    pub certificate: rcgen::Certificate,
    pub key: KeyPair,
    pub authority: rcgen::Certificate,
}

/// The same as files.
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
}

impl Authority {
    pub fn new(common_name: &str) -> Self {
        let mut params = named(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn certificate(&self) -> &rcgen::Certificate {
        self.0.as_ref()
    }

    /// `names` are DNS names and addresses.
    pub fn server(&self, common_name: &str, names: &[String]) -> Identity {
        let mut params = named(common_name, names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate, key, authority: self.certificate().clone() }
    }
}

impl Identity {
    pub fn write(&self, directory: &Path) -> Files {
        let files = Files {
            certificate: directory.join("server.pem"),
            key: directory.join("server-key.pem"),
            authority: directory.join("ca.pem"),
        };
        fs::write(&files.certificate, self.certificate.pem()).unwrap();
        fs::write(&files.key, self.key.serialize_pem()).unwrap();
        fs::write(&files.authority, self.authority.pem()).unwrap();
        files
    }
}

fn named(common_name: &str, names: &[String]) -> CertificateParams {
    let mut params = CertificateParams::new(names.to_vec()).unwrap();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
