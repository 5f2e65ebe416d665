import { JsonType, type EntityClass, type EntityManager, type EntityProperty, type Platform } from '@mikro-orm/core';

type Convert = (value: unknown) => unknown;

export type Column = {
  /** The property's. */
  name: string;
  /** Quoted. */
  column: string;
  /** As rows come from the driver. */
  key: string;
  isLazy: boolean;
  /** Null where the driver gives the value as it is wanted. */
  toProperty: Convert | null;
  /** Null where the platform writes the value as it is. */
  toColumn: Convert | null;
};

export type RowShape = {
  /** Quoted. */
  table: string;
  columns: readonly Column[];
  byName: ReadonlyMap<string, Column>;
};

const shapes = new WeakMap<EntityClass<object>, RowShape>();

/** What rows of an entity look like in SQL, as its own description says. */
export function shapeOf(em: EntityManager, entity: EntityClass<object>): RowShape {
  const known = shapes.get(entity);
  if (known) return known;
  const platform = em.getPlatform();
  const { tableName, props } = em.getMetadata().get(entity);
  const columns = props.map((property) => columnOf(property, platform));
  const shape = { table: platform.quoteIdentifier(tableName), columns, byName: new Map(columns.map((column) => [column.name, column])) };
  shapes.set(entity, shape);
  return shape;
}

function columnOf(property: EntityProperty, platform: Platform): Column {
  const { name, lazy, customType, runtimeType } = property;
  const key = property.fieldNames[0] ?? name;
  const isDate = runtimeType === 'Date';
  const reads = !isDate && customType && !(customType instanceof JsonType);
  const toProperty: Convert | null = isDate ? (value) => platform.parseDate(value as string | number) : reads ? (value): unknown => customType.convertToJSValue(value, platform) : null;
  const toColumn: Convert | null = !isDate && customType ? (value): unknown => customType.convertToDatabaseValue(value, platform) : null;
  return { name, column: platform.quoteIdentifier(key), key, isLazy: lazy === true, toProperty, toColumn };
}
