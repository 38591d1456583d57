/** What the Worker asks the object of revoked tokens. Apart from it, so that the HTTP face loads without the runtime. */

/** `jti` is unique only within its issuer (RFC 7519 section 4.1.7). */
export type RevokedToken = {
  readonly issuer: string;
  readonly jti: string;
  /** When the token expires by itself, seconds since the epoch: from then on nothing need be kept. */
  readonly expiresAtS: number;
};

export type RevocationMethods = {
  /** Safe to repeat. False: the list is full. */
  readonly revoke: (token: RevokedToken) => Promise<boolean>;
  readonly list: () => Promise<readonly RevokedToken[]>;
};

/** The only instance's name. */
export const REVOCATIONS_NAME = "all";
