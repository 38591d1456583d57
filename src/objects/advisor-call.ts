/** What isolates tell a tenant's advisor object, and hear from it: plain data, because it crosses an RPC. */

/** What one isolate knows of one origin × route group, as `advisor/snapshot.ts` writes it. */
export type GroupNews = { readonly group: string; readonly snapshot: string };

export type AdvisorMethods = {
  /** Takes in what an isolate has learned, and tells what all have. May be called twice: then it counts twice. */
  readonly exchange: (news: readonly GroupNews[]) => Promise<readonly GroupNews[]>;
  /** Everything that is known of the tenant's groups; reads only. */
  readonly known: () => Promise<readonly GroupNews[]>;
};
