/**
 * Where the console is: at `/console`, or behind the path at which the app around it is, as under the gateway. Its own
 * pages are written as if there were nothing before them; what leads to one goes through here.
 */
import { createContext, type FC, type JSX, type PropsWithChildren, useContext } from "hono/jsx";
import { type HttpContext, homeOf } from "../http/context.ts";

/** What stands before `/console` in the page that is made. */
export const Home = createContext("");

type Attributes<Tag extends "a" | "form"> = PropsWithChildren<JSX.IntrinsicElements[Tag]>;

/** A link to a page of the console. */
export const A: FC<Attributes<"a"> & { href: string }> = ({ href, children, ...rest }) => (
  <a {...rest} href={useContext(Home) + href}>
    {children}
  </a>
);

/** A form that a page of the console takes. */
export const Form: FC<Attributes<"form"> & { action: string }> = ({
  action,
  children,
  ...rest
}) => (
  <form {...rest} action={useContext(Home) + action}>
    {children}
  </form>
);

/** A button that sends its form elsewhere than the form says. */
export const SendTo: FC<PropsWithChildren<{ action: string }>> = ({ action, children }) => (
  <button formaction={useContext(Home) + action}>{children}</button>
);

/** See Other: a page of the console. */
export const goTo = (c: HttpContext, path: string): Response => c.redirect(homeOf(c) + path, 303);

/** The path that was asked for, as the console's pages are written. */
export const placeOf = (c: HttpContext): string =>
  (URL.parse(c.req.url)?.pathname ?? "").slice(homeOf(c).length);
