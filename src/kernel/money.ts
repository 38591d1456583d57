/**
 * Money is a safe integer of minor units and an ISO 4217 code. How many minor units make a major one is
 * the reader's business: nothing here divides.
 */
import { z } from "zod";
import { AMOUNT_MINOR_MAX } from "./limits.ts";

/** ISO 4217, list one, without the codes for metals, testing and "no currency". */
const CURRENCIES = (
  "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD " +
  "CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ " +
  "GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR " +
  "LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN " +
  "PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB " +
  "TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG"
).split(" ");
const known = new Set(CURRENCIES);

/** An ISO 4217 alphabetic code, upper case. */
export const currency = z
  .string()
  .length(3)
  .regex(/^[A-Z]{3}$/)
  .refine((code) => known.has(code), "not an ISO 4217 currency")
  .meta({ description: "ISO 4217 alphabetic code", examples: ["EUR"] });

/** A positive amount in minor units. */
export const amountMinor = z
  .int()
  .min(1)
  .max(AMOUNT_MINOR_MAX)
  .meta({ description: "Amount in minor units (cents), a positive integer", examples: [1250] });

/** A price, or a limit: may be zero. */
export const amountMinorOrZero = z.int().min(0).max(AMOUNT_MINOR_MAX);
