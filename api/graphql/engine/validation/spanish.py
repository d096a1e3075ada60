"""What each of graphql-core's validation rules reports, in Spanish.

The library words its errors in English. Here each text is made anew from the nodes that the error names and from the
place that the validation has reached, never from the English text.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphql import (
    ASTValidationRule,
    DeferStreamDirectiveLabel,
    DeferStreamDirectiveOnRootField,
    DeferStreamDirectiveOnValidOperationsRule,
    DirectiveNode,
    ExecutableDefinitionsRule,
    FieldNode,
    FieldsOnCorrectTypeRule,
    FragmentsOnCompositeTypesRule,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLUnionType,
    KnownArgumentNamesRule,
    KnownDirectivesRule,
    KnownFragmentNamesRule,
    KnownOperationTypesRule,
    KnownTypeNamesRule,
    LoneAnonymousOperationRule,
    MaxIntrospectionDepthRule,
    NoFragmentCyclesRule,
    NoSchemaIntrospectionCustomRule,
    NoUndefinedVariablesRule,
    NoUnusedFragmentsRule,
    NoUnusedVariablesRule,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    PossibleFragmentSpreadsRule,
    ProvidedRequiredArgumentsRule,
    ScalarLeafsRule,
    SelectionSetNode,
    SingleFieldSubscriptionsRule,
    StreamDirectiveOnListField,
    UniqueArgumentNamesRule,
    UniqueDirectivesPerLocationRule,
    UniqueFragmentNamesRule,
    UniqueInputFieldNamesRule,
    UniqueOperationNamesRule,
    UniqueVariableNamesRule,
    ValidationContext,
    VariablesAreInputTypesRule,
    VariablesInAllowedPositionRule,
    is_required_argument,
    print_ast,
)
from graphql.pyutils import suggestion_list

# Makes the text of an error from where the validation is and from the nodes of the error.
Words = Callable[[ValidationContext, Sequence[Any]], str]
SUGGESTIONS_MAX = 5


def _did_you_mean(context: ValidationContext, name: str, known: Sequence[str], form: str = "`{}`") -> str:
    """A question with the known names that are most like a wrong one; "" if there is none, or the schema is secret."""
    similar = [] if context.hide_suggestions else suggestion_list(name, list(known))[:SUGGESTIONS_MAX]
    quoted = [form.format(one) for one in similar]
    if not quoted:
        return ""
    *first, last = quoted
    return f" ¿Quiso decir {', '.join(first)} o {last}?" if first else f" ¿Quiso decir {last}?"


def _field(context: ValidationContext, nodes: Sequence[Any]) -> str:
    name, parent = nodes[0].name.value, context.get_parent_type()
    known = list(getattr(parent, "fields", ()))
    more = _did_you_mean(context, name, known)
    if isinstance(parent, GraphQLInterfaceType | GraphQLUnionType) and not context.hide_suggestions:
        having = [one.name for one in context.schema.get_possible_types(parent) if name in one.fields]
        more = f" Está en {', '.join(f'`... on {one}`' for one in having[:SUGGESTIONS_MAX])}." if having else more
    return f"No existe el campo `{name}` en el tipo `{parent}`.{more}"


def _type(context: ValidationContext, nodes: Sequence[Any]) -> str:
    name = nodes[0].name.value
    known = [one for one in context.schema.type_map if not one.startswith("__")]
    return f"No existe el tipo `{name}`.{_did_you_mean(context, name, known)}"


def _argument(context: ValidationContext, nodes: Sequence[Any]) -> str:
    name, directive, field = nodes[0].name.value, context.get_directive(), context.get_field_def()
    owner = directive or field
    known = list(owner.args) if owner else []
    where = f"la directiva `@{directive.name}`" if directive else "este campo"
    return f"No existe el argumento `{name}` en {where}.{_did_you_mean(context, name, known)}"


def _leaf(context: ValidationContext, nodes: Sequence[Any]) -> str:
    kind = context.get_type()
    if isinstance(nodes[0], SelectionSetNode):
        return f"Este campo es de tipo `{kind}`, que no tiene campos: quite lo que está entre llaves."
    name = nodes[0].name.value
    return f"El campo `{name}`, de tipo `{kind}`, necesita una selección de campos: `{name} {{ … }}`."


def _fragment_spread(context: ValidationContext, nodes: Sequence[Any]) -> str:
    node, parent = nodes[0], context.get_parent_type()
    if isinstance(node, FragmentSpreadNode):
        fragment = context.get_fragment(node.name.value)
        kind, which = fragment and fragment.type_condition.name.value, f"El fragmento `{node.name.value}`"
    else:
        kind, which = str(context.get_type()), "Este fragmento"
    return f"{which} no puede estar aquí: un objeto de tipo `{parent}` nunca es de tipo `{kind}`."


def _fragment_cycle(_: ValidationContext, nodes: Sequence[Any]) -> str:
    *others, last = (node.name.value for node in nodes)
    through = f", a través de {', '.join(f'`{name}`' for name in others)}" if others else ""
    return f"El fragmento `{last}` se incluye a sí mismo{through}."


def _directive(context: ValidationContext, nodes: Sequence[Any]) -> str:
    name = nodes[0].name.value
    if context.schema.get_directive(name):
        return f"La directiva `@{name}` no puede estar en este lugar."
    return f"No existe la directiva `@{name}`."


def _missing_argument(context: ValidationContext, nodes: Sequence[Any]) -> str:
    """For directives; api/graphql/engine/values.py reports missing arguments of fields."""
    node = nodes[0]
    directive, given = context.schema.get_directive(node.name.value), {one.name.value for one in node.arguments or ()}
    required = [name for name, one in directive.args.items() if is_required_argument(one)] if directive else []
    names = ", ".join(f"`{name}`" for name in required if name not in given)
    return f"A la directiva `@{node.name.value}` le falta: {names}."


def _variable_position(context: ValidationContext, nodes: Sequence[Any]) -> str:
    definition, variable = nodes
    name, kind = definition.variable.name.value, print_ast(definition.type)
    operations = [one for one in context.document.definitions if isinstance(one, OperationDefinitionNode)]
    usages = (usage for one in operations for usage in context.get_recursive_variable_usages(one))
    wanted = next((str(usage.type) for usage in usages if usage.node is variable), "otro tipo")
    return f"La variable `${name}`, de tipo `{kind}`, no puede estar donde se espera `{wanted}`."


def _subscription(_: ValidationContext, nodes: Sequence[Any]) -> str:
    if isinstance(nodes[0], DirectiveNode):
        return "Una suscripción no admite `@skip` ni `@include` en su primer nivel."
    if isinstance(nodes[0], FieldNode) and nodes[0].name.value.startswith("__"):
        return f"Una suscripción no admite `{nodes[0].name.value}` en su primer nivel."
    return "Una suscripción debe pedir un solo campo en su primer nivel."


def _undefined_variable(_: ValidationContext, nodes: Sequence[Any]) -> str:
    variable, operation = nodes
    where = f"la operación `{operation.name.value}`" if operation.name else "la operación"
    return f"La variable `${variable.name.value}` no está declarada en {where}."


def _overlapping(_: ValidationContext, nodes: Sequence[Any]) -> str:
    alias = nodes[0].alias if isinstance(nodes[0], FieldNode) else None
    name = alias.value if alias else nodes[0].name.value
    return (
        f"Hay varios `{name}` que no se pueden unir, porque son campos distintos o tienen argumentos o tipos distintos:"
        " dé a cada uno un alias propio."
    )


def _label(_: ValidationContext, nodes: Sequence[Any]) -> str:
    what = "debe ser distinto en cada directiva" if len(nodes) > 1 else "debe ser un texto fijo"
    return f"El argumento `label` de la directiva `@{nodes[0].name.value}` {what}."


def _definition(_: ValidationContext, nodes: Sequence[Any]) -> str:
    named = getattr(nodes[0], "name", None)
    what = f"la definición de `{named.value}`" if named else "una definición del esquema"
    return f"El documento solo puede tener operaciones y fragmentos: quite {what}."


def _says(text: str) -> Words:
    """Words with the name of the error's first node in the place of {}."""

    def words(_: ValidationContext, nodes: Sequence[Any]) -> str:
        named: Any = getattr(nodes[0], "name", nodes[0])  # some errors name the name itself
        return text.format(named.value)

    return words


def _always(text: str) -> Words:
    return lambda *_: text


SPANISH: Mapping[type[ASTValidationRule], Words] = {
    ExecutableDefinitionsRule: _definition,
    KnownOperationTypesRule: lambda _, nodes: f"El esquema no tiene operaciones `{nodes[0].operation.value}`.",
    UniqueOperationNamesRule: _says("Hay más de una operación con el nombre `{}`."),
    LoneAnonymousOperationRule: _always("Una operación sin nombre debe ser la única del documento."),
    SingleFieldSubscriptionsRule: _subscription,
    KnownTypeNamesRule: _type,
    FragmentsOnCompositeTypesRule: _says(
        "Un fragmento no puede ser de tipo `{}`, que no es objeto, interfaz ni unión."
    ),
    VariablesAreInputTypesRule: lambda _, nodes: (
        f"Una variable no puede ser de tipo `{print_ast(nodes[0])}`, que no es un tipo de entrada."
    ),
    ScalarLeafsRule: _leaf,
    FieldsOnCorrectTypeRule: _field,
    UniqueFragmentNamesRule: _says("Hay más de un fragmento con el nombre `{}`."),
    KnownFragmentNamesRule: _says("No existe el fragmento `{}`."),
    NoUnusedFragmentsRule: _says("El fragmento `{}` no se usa."),
    PossibleFragmentSpreadsRule: _fragment_spread,
    NoFragmentCyclesRule: _fragment_cycle,
    UniqueVariableNamesRule: _says("Hay más de una variable con el nombre `${}`."),
    NoUndefinedVariablesRule: _undefined_variable,
    NoUnusedVariablesRule: lambda _, nodes: f"La variable `${nodes[0].variable.name.value}` no se usa.",
    KnownDirectivesRule: _directive,
    UniqueDirectivesPerLocationRule: _says("La directiva `@{}` solo puede estar una vez en el mismo lugar."),
    DeferStreamDirectiveOnRootField: _says(
        "La directiva `@{}` no puede estar en el primer nivel de una mutación o una suscripción."
    ),
    DeferStreamDirectiveOnValidOperationsRule: _says("Una suscripción no admite la directiva `@{}`."),
    DeferStreamDirectiveLabel: _label,
    StreamDirectiveOnListField: _says("La directiva `@{}` solo puede estar en un campo que es una lista."),
    KnownArgumentNamesRule: _argument,
    UniqueArgumentNamesRule: _says("Hay más de un argumento con el nombre `{}`."),
    ProvidedRequiredArgumentsRule: _missing_argument,
    VariablesInAllowedPositionRule: _variable_position,
    OverlappingFieldsCanBeMergedRule: _overlapping,
    UniqueInputFieldNamesRule: _says("Hay más de un campo con el nombre `{}`."),
    MaxIntrospectionDepthRule: _always("La consulta del esquema tiene demasiados niveles."),
    NoSchemaIntrospectionCustomRule: _says("Aquí no se puede consultar el esquema: quite `{}`."),
}
