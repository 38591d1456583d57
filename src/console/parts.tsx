/** Parts that several pages of the console are made of. */
import type { FC, PropsWithChildren } from "hono/jsx";
import { REASON_LENGTH_MAX } from "../kernel/limits.ts";
import { linkTo } from "./format.tsx";
import { A } from "./place.tsx";

export type Tab = { readonly title: string; readonly href: string; readonly isCurrent: boolean };

export const Tabs: FC<{ label: string; tabs: readonly Tab[] }> = ({ label, tabs }) => (
  <nav class="tabs" aria-label={label}>
    <ul>
      {tabs.map(({ title, href, isCurrent }) => (
        <li>
          <A href={href} aria-current={isCurrent ? "true" : undefined}>
            {title}
          </A>
        </li>
      ))}
    </ul>
  </nav>
);

/** Which database is read; nothing where there is one. */
export const Databases: FC<{
  path: string;
  now: Readonly<Record<string, string>>;
  database: string;
  names: readonly string[];
}> = ({ path, now, database, names }) =>
  names.length < 2 ? (
    <></>
  ) : (
    <Tabs
      label="Database"
      tabs={names.map((name) => ({
        title: name,
        href: linkTo(path, now, { database: name, before: undefined, after: undefined }),
        isCurrent: name === database,
      }))}
    />
  );

/** Of an action: why, and what becomes of that. */
export const Reason: FC = () => (
  <>
    <label for="reason">Reason, for whoever reads this later</label>
    <textarea id="reason" name="reason" rows={3} maxlength={REASON_LENGTH_MAX} required></textarea>
    <p class="note">Written to the audit log under your name, once, however often this is sent.</p>
  </>
);

export const Empty: FC<PropsWithChildren> = ({ children }) => <p class="empty">{children}</p>;
