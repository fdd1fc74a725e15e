
/** An instance of a service, as it is registered. */
export interface Instance {
  /** Unique within the service. */
  id: string;
  /** The service. */
  name: string;
  /** The version of the program, or nothing. */
  version: string;
  /** What else it says of itself: `weight`, `zone` and `status` mean the same to all. */
  metadata: Record<string, string>;
  /** Where it listens, as others reach it. */
  endpoints: string[];
}

/** What is to be registered. */
export interface InstanceInit {
  name: string;
  /** Made up, if it is left out. */
  id?: string;
  version?: string;
  metadata?: Record<string, string>;
  endpoints?: string[];
  /**
   * How long the registration lives without a renewal: milliseconds, or a text such as "3m". Three minutes, if it is
   * left out: a hidden tab gets one timer a minute.
   */
  ttl?: number | string;
}

/** What is to be changed. What is left out stays; metadata is removed by `null`. */
export interface InstancePatch {
  version?: string;
  metadata?: Record<string, string | null>;
  endpoints?: string[];
}

export type Status = "starting" | "up" | "draining" | "down";

/**
 * How far a list can be believed: it is the registry's present word; the registry has lost its memory and is warming up,
 * so that some of it is what was known before; the registry cannot be heard, so that it is what was known then; nothing
 * was ever heard.
 */
export type Provenance = "live" | "unconfirmed" | "stale" | "unknown";

/** The instances of a service. An outage does not empty it: only the registry does. */
export interface Listing {
  /** Ordered by service and id. */
  instances: Instance[];
  provenance: Provenance;
  /** How long ago the registry was last heard, if it is stale. */
  staleForMs?: number;
}

/**
 * What changed of an instance. `cause` says why it went, as far as that was told: "deregistered", "expired", "evicted",
 * "superseded", or a word of a later registry.
 */
export type Change =
  | { type: "inserted"; before?: undefined; after: Instance }
  | { type: "updated"; before: Instance; after: Instance }
  | { type: "removed"; before: Instance; after?: undefined; cause?: string };

/** What a watcher tells: the list, and what changed since it told last. */
export interface Told extends Listing {
  /**
   * At most one an instance, ordered by service and id. All instances are inserted at first; there are none if only the
   * provenance changed.
   */
  changes: Change[];
}

/** What became of a registration. After the last three nothing follows. */
export type RegistrationState = "registering" | "registered" | "lost" | "superseded" | "refused" | "deregistered";

/** What all functions here throw, or reject with. */
export interface PeriplusError extends Error {
  name: "PeriplusError";
  /**
   * `invalid`, `closed`, `ended`, `limit`, `superseded`, `not_heard`, `busy`, or the code by which the registry refuses.
   */
  code: string;
}

export interface ConnectOptions {
  /** The namespace to work in. */
  namespace?: string;
}

/** What a client did so far. */
export interface Counters {
  requests: number;
  failures: number;
  registrations: number;
  renewals: number;
  losses: number;
  deregistrations: number;
  reconnects: number;
  stale: number;
  deliveries: number;
  snapshots: number;
  changes: number;
  skipped: number;
}
