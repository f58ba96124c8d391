//! A controller tells the active one where it is (KIP-919): tools that ask one controller learn of all of them from that.

use super::broker::{Broker, Committed};
use crate::controller::ControllerRequest;
use crate::controller::brokers::CONTROLLERS_REGISTER_FROM;
use crate::controller::cluster::FEATURES;
use crate::controller::image::MetadataImage;
use crate::outbox::Outbox;
use crate::time::Now;
use sordini_protocol::messages::ControllerRegistrationRequest;
use sordini_protocol::messages::controller_registration_request::{Feature, Listener};
use sordini_protocol::wire::{Str, Uuid};

impl Broker {
    /// Has this life of the process registered, by itself if it is the active controller, where that is not done.
    pub(super) fn register_controller(&mut self, now: Now, out: &mut Outbox) {
        let Some(incarnation) = self.controller_incarnation else { return };
        if self.active_epoch.is_none() {
            let wanted = !self.is_registered(&self.image, incarnation);
            self.quorum.wish_to_register(wanted.then(|| self.controller_registration(incarnation)));
        } else if !self.is_registered(self.controller.image(), incarnation) {
            let request = self.controller_registration(incarnation);
            let asked = self.asked(0, now);
            let request = ControllerRequest::ControllerRegistration(request);
            let decision = self.controller.decide(&request, &asked, &mut self.rng, out);
            self.commit(decision.records, Committed::Nothing, now, out);
        }
    }

    fn is_registered(&self, image: &MetadataImage, incarnation: Uuid) -> bool {
        let known = image.controllers().get(&self.config.node_id);
        image.metadata_version() < CONTROLLERS_REGISTER_FROM
            || known.is_some_and(|controller| controller.incarnation == incarnation)
    }

    fn controller_registration(&self, incarnation_id: Uuid) -> ControllerRegistrationRequest {
        let config = &self.config;
        let names = config.controller_listener_names.iter();
        let listeners = names.filter_map(|name| config.listeners.iter().find(|it| it.name == *name));
        let listeners = listeners.map(|listener| Listener {
            name: Str::from(&*listener.name),
            host: Str::from(if listener.host.is_empty() { "localhost" } else { &*listener.host }),
            port: listener.port,
            security_protocol: listener.protocol.code(),
            ..Listener::default()
        });
        let features = FEATURES.into_iter().map(|(name, min, max)| Feature {
            name: Str::from_static(name),
            min_supported_version: min,
            max_supported_version: max,
            ..Feature::default()
        });
        ControllerRegistrationRequest {
            controller_id: config.node_id.0,
            incarnation_id,
            listeners: listeners.collect(),
            features: features.collect(),
            ..ControllerRegistrationRequest::default()
        }
    }
}
