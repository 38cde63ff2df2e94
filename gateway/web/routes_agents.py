"""Agents: list, change of state; groups."""

from aiohttp import web

from gateway.agents.model import AgentId
from gateway.agents.states import AgentState, NotAllowed
from gateway.web.problems import Refused, answer_json
from gateway.web.queries import StateBody, json_body, known_query, path_id
from gateway.web.state import DEPS
from gateway.web.views import agent_json, group_json

routes = web.RouteTableDef()


@routes.get("/api/v1/agents")
async def list_agents(request: web.Request) -> web.Response:
    """Return all agents with their states, by id."""
    known_query(request)
    return answer_json({"items": [agent_json(view) for view in request.app[DEPS].agents.view()]})


@routes.post("/api/v1/agents/{id}/state")
async def change_state(request: web.Request) -> web.Response:
    """Bring an agent to ready (also: log in), paused or offline; 409 tells the present state."""
    known_query(request)
    agent = AgentId(path_id(request))
    body = await json_body(request, StateBody)
    try:
        view = await request.app[DEPS].agents.set_state(agent, AgentState(body.state), body.reason)
    except LookupError:
        raise Refused(404, "there is no such agent") from None
    except NotAllowed as exc:
        said = f"the agent is {exc.state.value!r}: {exc.why}"
        raise Refused(409, said, more={"state": exc.state.value}) from None
    return answer_json(agent_json(view))


@routes.get("/api/v1/groups")
async def list_groups(request: web.Request) -> web.Response:
    """Return the configured groups with the number of their agents by state."""
    known_query(request)
    return answer_json({"items": [group_json(view) for view in request.app[DEPS].agents.groups()]})
