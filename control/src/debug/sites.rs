//! Debug events of control: configuration, removed destinations, defences, and the steps of the start. Each `{}` takes
//! the next word.

const CORE: &[&str] = &["ip_vs"];

pollux_dataplane::event_kinds! {
    /// Kinds of events.
    Kind {
        // The start, in its order.
        StartDpdk = CORE, 2, "init: {} with {}";
        StartTables = CORE, 2, "init: {} with {} bytes of connection tables";
        StartTwins = CORE, 2, "init: {} in the kernel";
        StartConfiguration = CORE, 2, "init: configuration with {}";
        StartSocket = CORE, 2, "init: control socket {}";
        // Configuration.
        ServiceAdded = CORE, 2, "added service {}, scheduler {}";
        ServiceRemoved = CORE, 2, "removed service {}";
        DestinationAdded = CORE, 2, "added destination {} to service {}";
        DestinationEdited = CORE, 2, "edited destination {} of service {}";
        Timeouts = CORE, 2, "Setting timeout tcp:{} tcpfin:{} udp:{}";
        Learnt = CORE, 2, "network state: {} links, {} addresses, {} routes, {} neighbours";
        DefenceChanged = CORE, 2, "defences: drop_entry {}, drop rate {}, secure_tcp {}";
        // Removed destinations.
        ToTrash = CORE, 3, "Moving dest {} into trash, connections={}";
        FromTrash = CORE, 3, "Get destination {} from trash, connections={}";
        TrashEmptied = CORE, 3, "{} destinations removed from trash";
        NeighbourAsked = CORE, 9, "asked the kernel to resolve neighbour {} on {}";
    }
}
