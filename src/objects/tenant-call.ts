/** What is asked of the object that keeps a tenant's database. Apart from it, so that HTTP loads without the runtime. */

export type TenantMethods = {
  /**
   * The name of the database's binding: the one that the tenant has, or from now on `preferred`. Safe to repeat.
   */
  readonly databaseOf: (tenant: string, preferred: string) => Promise<string>;
};

/** The name of a tenant's object. */
export const tenantObjectName = (tenant: string): string => `tenant/${tenant}`;
