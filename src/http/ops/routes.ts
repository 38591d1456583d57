/** What operators read, in the order of the documentation. */
import { exportAudit, verificationRoute } from "./audit.ts";
import { boundariesRoute } from "./boundaries.ts";
import type { OpsRead } from "./ops-route.ts";
import { issuesRoute, reconciliationRoute } from "./reconciliation.ts";

export const OPS_READS: readonly OpsRead[] = [
  exportAudit,
  verificationRoute,
  reconciliationRoute,
  issuesRoute,
  boundariesRoute,
];
