/** The cron triggers of wrangler.toml, by their very texts: a test compares. Whatever else comes is the slow pass. */
export const CRONS = {
  minutely: "* * * * *",
  reconciliation: "4-59/10 * * * *",
  slowPass: "17 * * * *",
} as const;
