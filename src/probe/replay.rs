//! Recorded conversations against the state machine, without any input or output: what the examples of the
//! definitions are run through.

use std::sync::Arc;

use super::answer::{Answer, ClientCertificate, Handshake, HandshakeResult, Outcome};
use super::definition::{Class, Definition, Example, Layer, Request};
use super::session::{Session, Step};
use crate::model::{Endpoint, Service, Transport};

/// An example that does not come to what it expects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{service}: example `{example}`: {problem}; hint: compare the decision table with the recorded answers")]
pub struct ExampleFailure {
    pub service: String,
    pub example: String,
    pub problem: String,
}

/// Plays a conversation to `definitions`, as if recorded on `port`.
pub fn replay(definitions: &[Arc<Definition>], example: &Example, port: u16) -> Service {
    let transport = if example.layer == Layer::Datagram { Transport::Udp } else { Transport::Tcp };
    let endpoint = Endpoint::new(std::net::Ipv4Addr::LOCALHOST.into(), transport, port);
    let mut session = Session::new(definitions, endpoint, Class::OptIn);
    loop {
        match session.next() {
            Step::Greet(_) => session.handle_greeting(answer(example, &Request::Greeting)),
            Step::Handshake => session.handle_handshake(handshake(example)),
            Step::Ask(layer, request) => {
                let found =
                    if layer == example.layer { answer(example, &request) } else { Answer::failed(Outcome::Closed) };
                session.handle_answer(request, found);
            }
            Step::Done => return session.service(),
        }
    }
}

/// Runs all examples and look-alikes of one definition against it.
pub fn check(definition: &Arc<Definition>) -> Result<(), ExampleFailure> {
    let alone = std::slice::from_ref(definition);
    for example in &definition.examples {
        check_one(definition, example, &replay(alone, example, example.port))?;
    }
    for example in &definition.lookalikes {
        let service = replay(alone, example, example.port);
        if service.name == definition.name {
            return Err(failure(definition, example, "a look-alike is taken for the service".to_owned()));
        }
    }
    Ok(())
}

/// Compares a result with what the example expects.
pub fn check_one(definition: &Definition, example: &Example, service: &Service) -> Result<(), ExampleFailure> {
    let differs = |what: &str, wanted: &str, found: &str| {
        Err(failure(definition, example, format!("{what} is `{found}`, expected `{wanted}`")))
    };
    if service.name != definition.name {
        return differs("name", &definition.name, &service.name);
    }
    let expect = &example.expect;
    if let Some(access) = expect.access
        && access != service.access
    {
        return differs("access", access.as_str(), service.access.as_str());
    }
    if let Some(severity) = expect.severity
        && severity != service.severity
    {
        return differs("severity", severity.as_str(), service.severity.as_str());
    }
    if let Some(version) = &expect.version
        && Some(version) != service.version.as_ref()
    {
        return differs("version", version, service.version.as_deref().unwrap_or("none"));
    }
    for (name, wanted) in &expect.details {
        let found = service.details.get(name).map_or("none", String::as_str);
        if found != wanted {
            return differs(name, wanted, found);
        }
    }
    Ok(())
}

fn failure(definition: &Definition, example: &Example, problem: String) -> ExampleFailure {
    ExampleFailure { service: definition.name.clone(), example: example.name.clone(), problem }
}

fn answer(example: &Example, request: &Request) -> Answer {
    if let Some((_, answer)) = example.answers.iter().find(|(known, _)| **known == *request) {
        return answer.clone();
    }
    match (request, &example.other) {
        (Request::Http(_), Some(other)) => other.clone(),
        (Request::Greeting, _) => Answer::failed(Outcome::Silent),
        _ => Answer::failed(Outcome::Closed),
    }
}

fn handshake(example: &Example) -> Handshake {
    let Some(tls) = &example.tls else {
        return Handshake::default();
    };
    let client_certificate = match (tls.facts.client_certificate_requested, tls.alert) {
        (true, Some(_)) => ClientCertificate::Required,
        (true, None) => ClientCertificate::Requested,
        (false, _) => ClientCertificate::NotRequested,
    };
    Handshake { result: HandshakeResult::Completed, facts: tls.facts.clone(), alert: tls.alert, client_certificate }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Access;
    use crate::probe::catalogue::Catalogue;

    #[test]
    fn a_wrong_expectation_is_found() {
        let catalogue = Catalogue::builtin();
        let etcd = catalogue.get("etcd").unwrap();
        let broken = |change: fn(&mut Example)| {
            let mut definition = etcd.clone();
            change(&mut definition.examples[0]);
            check(&Arc::new(definition)).unwrap_err().problem
        };
        assert!(broken(|example| example.expect.access = Some(Access::Forbidden)).starts_with("access is"));
        assert!(broken(|example| example.expect.version = Some("9".to_owned())).starts_with("version is"));
        assert!(broken(|example| drop(example.expect.details.insert("x".into(), "y".into()))).starts_with("x is"));
        assert!(broken(|example| example.answers.clear()).starts_with("name is"));
        let mut definition = etcd.clone();
        definition.lookalikes.push(etcd.examples[0].clone());
        assert!(check(&Arc::new(definition)).unwrap_err().problem.contains("look-alike"));
    }
}
