"""Errors of documents in Spanish: every rule of the library and its syntax errors.

These tests fail when the library gets a rule without a text in Spanish, or names other nodes in an error.
"""

import pytest
from graphql import GraphQLError, GraphQLSchema, TypeInfo, ValidationContext, build_schema, parse, specified_rules

from api.graphql.engine.document_errors import LibraryError, translate
from api.graphql.engine.documents import CHARACTERS_MAX, TOKENS_MAX, Documents, WrongDocument
from api.graphql.engine.validation.rules import RULES, SUGGESTED_MAX, in_both_languages
from api.graphql.engine.validation.spanish import SPANISH
from tests.api.conftest import Client

SDL = """
  type Query { line(id: ID!, day: Day): Line lines: [Line!]! any: Node }
  type Line implements Node { id: ID! name: String number: Int }
  type Agenda implements Node { id: ID! slots: [Slot!]! }
  type Slot { number: Int }
  interface Node { id: ID! }
  input Day { year: Int month: Int }
"""
SCHEMA = build_schema(
    SDL + "type Mutation { close(id: ID!): Line } type Subscription { line(id: ID!): Line turn: Line }"
)
NULL = {"es": "Dato no válido: `$n` no puede ser nulo en este lugar.", "en": "Invalid value: `$n` can't be null here."}
LINE = '{ line(id: "a") '


def errors_of(text: str, schema: GraphQLSchema = SCHEMA, *, introspection: bool = True) -> list[GraphQLError]:
    with pytest.raises(WrongDocument) as caught:
        Documents(schema, introspection=introspection).understand(text)
    return caught.value.errors


def in_spanish(errors: list[GraphQLError]) -> list[str]:
    for error in errors:
        translate(error, "es")
    return [error.message for error in errors]


WRONG: dict[str, list[tuple[str, str]]] = {
    "ExecutableDefinitionsRule": [
        ("{ lines { id } } type A { b: Int }", "quite la definición de `A`."),
        ("{ lines { id } } schema { query: Query }", "quite una definición del esquema."),
    ],
    "UniqueOperationNamesRule": [
        ("query A { lines { id } } query A { lines { id } }", "Hay más de una operación con el nombre `A`."),
    ],
    "LoneAnonymousOperationRule": [
        ("{ lines { id } } query A { lines { id } }", "Una operación sin nombre debe ser la única del documento."),
    ],
    "SingleFieldSubscriptionsRule": [
        (
            'subscription { line(id: "a") { id } turn { id } }',
            "Una suscripción debe pedir un solo campo en su primer nivel.",
        ),
        ("subscription { __typename }", "Una suscripción no admite `__typename` en su primer nivel."),
        ("subscription { turn @skip(if: false) { id } }", "Una suscripción no admite `@skip` ni `@include`"),
    ],
    "KnownTypeNamesRule": [
        ("{ any { ... on Lin { id } } }", "No existe el tipo `Lin`. ¿Quiso decir `Line`"),
        ("query ($a: Zzzzzzzzz) { lines { id } }", "No existe el tipo `Zzzzzzzzz`."),
    ],
    "FragmentsOnCompositeTypesRule": [
        (
            "{ any { ... on Int { id } } }",
            "Un fragmento no puede ser de tipo `Int`, que no es objeto, interfaz ni unión.",
        ),
        ("{ any { ...F } } fragment F on Day { id }", "Un fragmento no puede ser de tipo `Day`"),
    ],
    "VariablesAreInputTypesRule": [
        (
            "query ($a: [Line!]) { lines { id } }",
            "Una variable no puede ser de tipo `[Line!]`, que no es un tipo de entrada.",
        ),
    ],
    "ScalarLeafsRule": [
        ("{ lines { id { x } } }", "Este campo es de tipo `ID!`, que no tiene campos: quite lo que está entre llaves."),
        ("{ lines }", "El campo `lines`, de tipo `[Line!]!`, necesita una selección de campos: `lines { … }`."),
    ],
    "FieldsOnCorrectTypeRule": [
        ("{ lines { nme } }", "No existe el campo `nme` en el tipo `Line`. ¿Quiso decir `name`?"),
        ("{ any { number } }", "No existe el campo `number` en el tipo `Node`. Está en `... on Line`."),
        ("{ any { zzzzzzz } }", "No existe el campo `zzzzzzz` en el tipo `Node`."),
    ],
    "UniqueFragmentNamesRule": [
        (
            "{ ...F } fragment F on Query { lines { id } } fragment F on Query { lines { id } }",
            "Hay más de un fragmento con el nombre `F`.",
        ),
    ],
    "KnownFragmentNamesRule": [("{ ...F }", "No existe el fragmento `F`.")],
    "NoUnusedFragmentsRule": [
        ("{ lines { id } } fragment F on Query { lines { id } }", "El fragmento `F` no se usa."),
    ],
    "PossibleFragmentSpreadsRule": [
        (
            "{ lines { ... on Slot { number } } }",
            "Este fragmento no puede estar aquí: un objeto de tipo `Line` nunca es de",
        ),
        (
            "{ lines { ...F } } fragment F on Slot { number }",
            "El fragmento `F` no puede estar aquí: un objeto de tipo `Line`",
        ),
    ],
    "NoFragmentCyclesRule": [
        ("{ ...F } fragment F on Query { ...F }", "El fragmento `F` se incluye a sí mismo."),
        (
            "{ ...F } fragment F on Query { ...G } fragment G on Query { ...F }",
            "se incluye a sí mismo, a través de `G`.",
        ),
    ],
    "UniqueVariableNamesRule": [
        ("query ($a: ID!, $a: ID!) { line(id: $a) { id } }", "Hay más de una variable con el nombre `$a`."),
    ],
    "NoUndefinedVariablesRule": [
        ("{ line(id: $a) { id } }", "La variable `$a` no está declarada en la operación."),
        ("query Q { line(id: $a) { id } }", "La variable `$a` no está declarada en la operación `Q`."),
    ],
    "NoUnusedVariablesRule": [("query ($a: ID!) { lines { id } }", "La variable `$a` no se usa.")],
    "KnownDirectivesRule": [
        ("{ lines @nope { id } }", "No existe la directiva `@nope`."),
        ("query @skip(if: true) { lines { id } }", "La directiva `@skip` no puede estar en este lugar."),
    ],
    "UniqueDirectivesPerLocationRule": [
        (
            "{ lines @skip(if: true) @skip(if: false) { id } }",
            "La directiva `@skip` solo puede estar una vez en el mismo",
        ),
    ],
    "DeferStreamDirectiveOnRootField": [
        (
            "mutation { ... @defer { close(id: 1) { id } } }",
            "La directiva `@defer` no puede estar en el primer nivel de una",
        ),
    ],
    "DeferStreamDirectiveOnValidOperationsRule": [
        ("subscription { turn { ... @defer { id } } }", "Una suscripción no admite la directiva `@defer`."),
    ],
    "DeferStreamDirectiveLabel": [
        (
            "query ($a: String) { lines { ... @defer(label: $a) { id } } }",
            "El argumento `label` de la directiva `@defer` debe ser un texto fijo.",
        ),
        (
            '{ lines { ... @defer(label: "a") { id } ... @defer(label: "a") { id } } }',
            "El argumento `label` de la directiva `@defer` debe ser distinto en cada directiva.",
        ),
    ],
    "StreamDirectiveOnListField": [
        (
            LINE + "{ name @stream(initialCount: 1) } }",
            "La directiva `@stream` solo puede estar en un campo que es una lista.",
        ),
    ],
    "KnownArgumentNamesRule": [
        ('{ line(id: "a", dya: 1) { id } }', "No existe el argumento `dya` en este campo. ¿Quiso decir `day`"),
        (
            "{ lines @skip(if: true, iff: 1) { id } }",
            "No existe el argumento `iff` en la directiva `@skip`. ¿Quiso decir `if`?",
        ),
    ],
    "UniqueArgumentNamesRule": [('{ line(id: "a", id: "b") { id } }', "Hay más de un argumento con el nombre `id`.")],
    "ValuesOfCorrectTypeRule": [("{ line(id: true) { id } }", "Dato no válido: `id` debe ser de tipo `ID!`.")],
    "ProvidedRequiredArgumentsRule": [
        ("{ line { id } }", "Dato no válido: falta `id`, de tipo `ID!`."),
        ("{ lines @skip { id } }", "A la directiva `@skip` le falta: `if`."),
    ],
    "VariablesInAllowedPositionRule": [
        (
            "query ($a: ID) { line(id: $a) { id } }",
            "La variable `$a`, de tipo `ID`, no puede estar donde se espera `ID!`.",
        ),
    ],
    "OverlappingFieldsCanBeMergedRule": [
        ("{ lines { a: name a: number } }", "Hay varios `a` que no se pueden unir"),
        ('{ line(id: "a") { id } line(id: "b") { id } }', "Hay varios `line` que no se pueden unir"),
    ],
    "UniqueInputFieldNamesRule": [
        ('{ line(id: "a", day: {year: 1, year: 2}) { id } }', "Hay más de un campo con el nombre `year`."),
    ],
    "MaxIntrospectionDepthRule": [
        (
            "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }",
            "La consulta del esquema tiene demasiados niveles.",
        ),
    ],
}


def test_every_rule_of_the_library_has_a_text_and_an_example() -> None:
    tried = {*WRONG, "KnownOperationTypesRule"}  # which needs another schema
    assert {rule.__name__ for rule in specified_rules} == tried
    assert len(RULES) == len(specified_rules) + 1
    with pytest.raises(KeyError):
        in_both_languages(type("NewRule", (), {}))


@pytest.mark.parametrize(("rule", "document", "text"), [(rule, *one) for rule in WRONG for one in WRONG[rule]])
def test_an_error_has_a_text_in_both_languages_and_its_place(rule: str, document: str, text: str) -> None:
    errors = errors_of(document)
    english, places = [error.message for error in errors], [error.locations for error in errors]
    spanish = in_spanish(errors)
    assert any(one.startswith(text) or one.endswith(text) for one in spanish), spanish
    assert not set(english) & set(spanish)
    assert all(places)
    assert [error.locations for error in errors] == places


def test_rules_share_the_budget_of_the_validation() -> None:
    """Else a document could cost thirty times as much before its validation is stopped."""
    context = ValidationContext(SCHEMA, parse("{ lines { id } }"), TypeInfo(SCHEMA), lambda _: None)
    for rule in RULES:
        assert rule(context).context.get_fragment.__self__ is context  # type: ignore[attr-defined]


def test_names_are_suggested_for_the_first_errors_only() -> None:
    errors = errors_of("{ lines { " + "nme " * 30 + "} }")
    english = ["Did you mean" in error.message for error in errors]
    spanish = ["¿Quiso decir `name`?" in text for text in in_spanish(errors)]
    assert english == spanish == [True] * SUGGESTED_MAX + [False] * (30 - SUGGESTED_MAX)


def test_an_operation_that_the_schema_does_not_have() -> None:
    assert "El esquema no tiene operaciones `mutation`." in in_spanish(errors_of("mutation { a }", build_schema(SDL)))


def test_a_secret_schema_is_not_suggested() -> None:
    for document in (
        "{ lines { nme } }",
        "{ any { number } }",
        "{ any { ... on Lin { id } } }",
        "{ line(idd: 1) { id } }",
    ):
        texts = in_spanish(errors_of(document, introspection=False))
        assert not [text for text in texts if "¿" in text or "... on" in text]
    (error,) = in_spanish(errors_of("{ __schema { __typename } }", introspection=False))
    assert error == "Aquí no se puede consultar el esquema: quite `__schema`."


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("", "Error de sintaxis: el documento termina antes de tiempo."),
        ("{ lines { id }", "Error de sintaxis: el documento termina antes de tiempo."),
        ("{ lines { id } } }", "Error de sintaxis: `}` no puede estar en este lugar."),
        ("{ line(id: ) { id } }", "Error de sintaxis: `)` no puede estar en este lugar."),
        ("lines { id }", "Error de sintaxis: `lines` no puede estar en este lugar."),
        ("{ lines ? }", "Error de sintaxis: `?` no puede estar en este lugar."),
        ("{ lines \0 }", "Error de sintaxis: lo que está en este lugar no se puede leer."),
        ("{ line(id: 01) }", "Error de sintaxis: `1` no puede estar en este lugar."),
        ('{ line(id: "a', "Error de sintaxis: falta cerrar un texto entre comillas."),
        ('{ line(id: "a\n") }', "Error de sintaxis: falta cerrar un texto entre comillas."),
        ("{ " + "a" * 100 + "! }", "Error de sintaxis: `!` no puede estar en este lugar."),
        ("z" * 100, "Error de sintaxis: `" + "z" * 60 + "…` no puede estar en este lugar."),
        ("{ " + "a{" * 600 + "b" + "}" * 600 + " }", "El documento tiene demasiados niveles."),
        ("{ " + "a " * TOKENS_MAX + "}", f"El documento tiene más de {TOKENS_MAX} palabras y signos."),
        ("#\n" * (TOKENS_MAX + 1) + "{ a }", f"El documento tiene más de {TOKENS_MAX} palabras y signos."),
        ("{ " + "a" * CHARACTERS_MAX + "}", f"El documento tiene más de {CHARACTERS_MAX} caracteres."),
    ],
)
def test_a_syntax_error_is_described_in_spanish(document: str, text: str) -> None:
    (error,) = errors = errors_of(document)
    places = error.locations
    assert in_spanish(errors) == [text]
    assert error.locations == places
    assert isinstance(error, LibraryError) == bool(places)


def test_too_many_errors_and_too_large_documents_are_refused_in_both_languages() -> None:
    stopped = errors_of("{ " + "".join(f"a{number} " for number in range(150)) + "}")[-1]
    translate(stopped, "en")
    assert (stopped.message, stopped.extensions) == (
        "The document has too many errors or is too complex: the rest was not checked.", {"code": "validation_stopped"}
    )  # fmt: skip
    assert in_spanish([stopped]) == [
        "El documento tiene demasiados errores o es demasiado complejo: no se revisó el resto."
    ]
    large = in_spanish(errors_of("{ " + "".join(f"a{number}: __typename " for number in range(20)) + "}"))
    assert "El documento tiene más de 15 alias, contando cada fragmento donde se usa." in large
    assert in_spanish(errors_of("{ lines { } }"))[-1] == "Una selección no puede estar vacía."


def test_words_are_there_for_no_rule_that_is_gone() -> None:
    names = {rule.__name__ for rule in SPANISH}
    assert names - {"NoSchemaIntrospectionCustomRule"} <= {rule.__name__ for rule in specified_rules}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("query", "variables", "code", "texts"),
    [
        (
            "query A { __typename } query B { __typename }",
            {},
            "operation_not_named",
            {
                "es": "El documento tiene varias operaciones: indique una en `operationName`.",
                "en": "The document has several operations: name one in `operationName`.",
            },
        ),
        ("query ($n: Boolean = true) { __typename @include(if: $n) }", {"n": None}, "invalid_input", NULL),
        ('query ($n: String = "x") { __type(name: $n) { name } }', {"n": None}, "invalid_input", NULL),
    ],
)
async def test_errors_of_the_execution_are_in_the_client_s_language(
    client: Client, query: str, variables: dict[str, object], code: str, texts: dict[str, str]
) -> None:
    for language, text in texts.items():
        (error,) = (await client.ask(query, language=language, **variables))["errors"]
        assert (error["message"], error["extensions"]["code"]) == (text, code)


@pytest.mark.anyio
async def test_an_operation_of_another_name_is_unknown(client: Client) -> None:
    body = {"query": "query A { __typename }", "operationName": "B"}
    for language, text in (
        ("es", "El documento no tiene la operación `B`."),
        ("en", "The document has no operation `B`."),
    ):
        answer = await client.http.post("/graphql", json=body, headers={"accept-language": language})
        (error,) = answer.json()["errors"]
        assert error["message"] == text
        assert error["extensions"] == {"code": "operation_unknown"}
        assert "data" not in answer.json()


@pytest.mark.anyio
async def test_validation_answers_in_the_client_s_language(client: Client) -> None:
    for language, text in (
        ("es", "No existe el campo `nothingLikeIt` en el tipo `Query`."),
        ("en", "Cannot query field 'nothingLikeIt' on type 'Query'."),
        ("es", "No existe el campo `nothingLikeIt` en el tipo `Query`."),
    ):
        (error,) = (await client.ask("{ nothingLikeIt }", language=language))["errors"]
        assert error == {"message": text, "locations": [{"line": 1, "column": 3}]}
